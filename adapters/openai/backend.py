"""Any server that speaks OpenAI's protocol: vLLM, SGLang, TGI, llama.cpp, or another gateway.

What is sent and read is in ``adapters.http.openai_calls``, what an engine says of its load in
``engine_probe``. Assumed, since servers differ: ``503`` is loading where the message says so and
overload elsewhere.

Source: https://platform.openai.com/docs/api-reference, https://docs.vllm.ai/en/latest/serving/
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, Literal

import msgspec

from adapters.assumptions import ACCEPTED, tried
from adapters.base import Clock
from adapters.http.api import Api, bearer, below_v1, merged
from adapters.http.backend import HttpBackend
from adapters.http.openai_calls import OpenAICalls
from adapters.names import Name
from adapters.openai.engine_probe import EngineProbe, Named
from adapters.openai.plain_calls import PlainCalls
from adapters.openai.providers import PROVIDERS, UNKNOWN, VERSION, Provider, ProviderName
from adapters.routes import COUNT_ROUTE, OPENAI_ROUTES, PLAIN_ROUTES, TYPED_ROUTES
from adapters.settings import HttpSettings, HttpUrl, SecretStr, SettingError, UrlPath
from adapters.shapes.json_texts import read_if
from adapters.types import Assumption, Call, Capabilities, Probe, Reply, Task


class OpenAISettings(HttpSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One server of OpenAI's protocol."""

    provider: ProviderName | None = None
    """Who runs the server: says where it is, how it is shown the key, and what it has natively."""
    base_url: HttpUrl = ""
    """Where the server is, with or without /v1; left out: where the provider is."""
    v1: bool | None = None
    """Whether its paths begin with /v1 below base_url; off: right there, as /chat/completions. Left
    out: as the provider has them, else with it."""
    api_version: Name | None = None
    """Of Azure: sent as api-version with every request."""
    api_key: SecretStr | None = None
    """Sent as a bearer token; to Azure as api-key."""
    model: Name | None = None
    """The upstream's own name for the model; left out: the caller's name is passed on."""
    native: frozenset[Literal["messages", "responses"]] = frozenset()
    """Which of /v1/messages and /v1/responses the server has itself; calls of the others are asked
    as chat completions, and their answers written anew."""
    infer_path: UrlPath | None = None
    """Where /v1/infer calls go, such as /infer; left out: this backend does not take them."""
    stream_usage: bool = True
    """Ask every stream for its usage. Off for a server that refuses stream_options."""
    engine: Named = "auto"
    """Whose words for its load and limits are read; auto: it is found out. With none the server is
    asked no more than whether it is up, and so is a provider."""

    def __post_init__(self) -> None:
        if not self.base_url and not self.known.base_url:
            whose = f"{self.provider} has one for each customer" if self.provider else "no provider"
            raise SettingError(("base_url",), f"it is missing, and {whose}")

    @property
    def known(self) -> Provider:
        """What is known of the provider."""
        return UNKNOWN if self.provider is None else PROVIDERS[self.provider]

    @property
    def url(self) -> str:
        """Below which the paths of the protocol are."""
        url = self.base_url or self.known.base_url
        return below_v1(url) if self.has_v1 else url.rstrip("/")

    @property
    def has_v1(self) -> bool:
        """Whether these paths begin with /v1."""
        return self.known.has_v1 if self.v1 is None else self.v1


class OpenAICompatible(HttpBackend):
    """A server of OpenAI's protocol, and the engine behind it."""

    Settings = OpenAISettings
    slots: int | None = None
    """What the engine last said; the protocol itself states no bound."""

    def __init__(self, name: str, settings: OpenAISettings, clock: Clock) -> None:
        api = _api_of(settings, clock)
        infer = settings.infer_path
        own: dict[Task, str] = {} if infer is None else {"infer": infer}
        typed: dict[Task, str] = {
            task: TYPED_ROUTES[task] for task in settings.native | settings.known.native
        }
        alone = settings.known.native_alone
        self._heads = api.heads({**({} if alone else OPENAI_ROUTES), **typed, **own})
        if "messages" in typed:
            self._heads["messages"] = api.head("POST", typed["messages"], VERSION)
            self._heads["count_tokens"] = api.head("POST", COUNT_ROUTE, VERSION)
        others: tuple[Task, ...] = () if alone else (*PLAIN_ROUTES, "realtime")
        tasks: frozenset[Task] = frozenset((*self._heads, *others, "other"))
        super().__init__(name, api, Capabilities(tasks=tasks))
        self._settings = settings
        self._plain = PlainCalls(api, model=settings.model, timeout=settings.timeout)
        self._model = settings.model
        hosted = settings.provider is not None and settings.engine == "auto"
        engine, lists = "none" if hosted else settings.engine, settings.known.lists_models
        self._engine = EngineProbe(api, engine, lists_models=lists)
        self._calls = OpenAICalls(
            api, settings, model=settings.model, stream_usage=settings.stream_usage
        )

    def invoke(self, call: Call) -> Coroutine[Any, Any, Reply]:
        if call.declared is not None or call.task in PLAIN_ROUTES:
            return self._plain.ask(call)
        head = self._heads.get(call.task)
        if head is None and call.task == "realtime":
            return self._converse(call)
        if call.betas and head is not None:
            head = self._head_with_betas(call)
        return self._calls.ask(call, head)

    def _converse(self, call: Call) -> Coroutine[Any, Any, Reply]:
        from adapters.openai.realtime import RealtimeCalls

        settings = self._settings
        query = "" if settings.api_version is None else f"api-version={settings.api_version}"
        calls = RealtimeCalls(self._api, settings, model=settings.model, query=query)
        return calls.ask(call)

    def _head_with_betas(self, call: Call) -> bytes:
        path = COUNT_ROUTE if call.task == "count_tokens" else TYPED_ROUTES["messages"]
        return self._api.head("POST", path, {**VERSION, "anthropic-beta": call.betas})

    async def assumptions(self) -> list[Assumption]:
        if not self._settings.known.lists_models:
            return []
        return [await tried(f"{ACCEPTED}, and models are listed", self._models)]

    async def probe(self) -> Probe:
        """Whether it is up, and its engine's load and limits where they are told."""
        probe = await self._engine.probe()
        self.slots = self._engine.load.slots
        queues = self._engine.load.queues
        if queues is not self.capabilities.queues:
            self.capabilities = Capabilities(tasks=self.capabilities.tasks, queues=queues)
        return probe

    async def _models(self) -> tuple[bool, str]:
        names = _names_in((await self._api.ask("GET", "/v1/models")).body)
        wanted = self._model
        if wanted is not None and wanted not in names:
            return False, f"{wanted} is not among {len(names)} models"
        return bool(names), ", ".join(names[:5]) or "no models are listed"


def _api_of(settings: OpenAISettings, clock: Clock) -> Api:
    key, name = settings.api_key, settings.known.key_header
    shown = {name: key.reveal()} if name and key is not None else bearer(key)
    version = settings.api_version
    return Api(
        settings.url,
        clock,
        settings,
        headers=merged(settings.known.headers, settings.headers, shown),
        secrets=(key,),
        query="" if version is None else f"api-version={version}",
        left_out="" if settings.has_v1 else "/v1",
    )


class _Listed(msgspec.Struct):
    id: str = ""


class _Listing(msgspec.Struct):
    data: list[_Listed] = []


def _names_in(body: bytes) -> list[str]:
    listing = read_if(body, _Listing) or _Listing()
    return [one.id for one in listing.data if one.id]
