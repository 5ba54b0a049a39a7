"""Any server that speaks OpenAI's protocol: vLLM, SGLang, TGI, llama.cpp, or another gateway.

What is sent and read is in ``openai_calls.py``. Assumed, since servers differ: ``503`` is loading
where the message says so and overload elsewhere.

Source: https://platform.openai.com/docs/api-reference, https://docs.vllm.ai/en/latest/serving/
"""

from __future__ import annotations

import msgspec

from adapters.answers import refused
from adapters.assumptions import ACCEPTED, tried
from adapters.base import Clock
from adapters.errors import BackendError
from adapters.http import Origin, client_of, render_head
from adapters.openai_calls import OpenAICalls, bearer, heads_of
from adapters.settings import HttpSettings, SecretStr
from adapters.types import OPENAI_ROUTES, Assumption, Call, Capabilities, Probe, Reply

PROBE_TIMEOUT = 5.0


class OpenAISettings(HttpSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    base_url: str
    """Where the server is, with or without /v1."""
    api_key: SecretStr | None = None
    """Sent as a bearer token."""
    model: str | None = None
    """The upstream's own name for the model; left out: the caller's name is passed on."""
    infer_path: str | None = None
    """Where /v1/infer calls go, such as /infer; left out: this backend does not take them."""
    stream_usage: bool = True
    """Ask every stream for its usage. Off for a server that refuses stream_options."""


class OpenAICompatible:
    Settings = OpenAISettings

    def __init__(self, name: str, settings: OpenAISettings, clock: Clock) -> None:
        self.name = name
        self._clock = clock
        origin = Origin(settings.base_url.rstrip("/").removesuffix("/v1"))
        self._client = client_of(origin, clock, settings)
        headers = {**settings.headers, **bearer(settings.api_key)}
        routes = dict(OPENAI_ROUTES)
        if settings.infer_path is not None:
            routes["infer"] = settings.infer_path
        self._heads = heads_of(origin, routes, headers)
        self._probes = [
            render_head("GET", origin, path, headers) for path in ("/health", "/v1/models")
        ]
        self._model = settings.model
        self._secrets = () if settings.api_key is None else (settings.api_key,)
        self._calls = OpenAICalls(
            self._client,
            clock,
            settings,
            model=settings.model,
            stream_usage=settings.stream_usage,
            secrets=self._secrets,
        )
        self._capabilities = Capabilities(tasks=frozenset(self._heads))

    def __repr__(self) -> str:
        return f"<OpenAICompatible {self.name}: {self._client!r}>"

    @property
    def capabilities(self) -> Capabilities:
        return self._capabilities

    @property
    def slots(self) -> int | None:
        """The protocol states no bound; the policy's ``concurrency`` may."""
        return None

    async def start(self) -> None:
        self._client.start()

    async def aclose(self) -> None:
        await self._client.aclose()

    async def invoke(self, call: Call) -> Reply:
        return await self._calls.ask(call, self._heads.get(call.task))

    async def assumptions(self) -> list[Assumption]:
        return [await tried(f"{ACCEPTED}, and models are listed", self._models)]

    async def probe(self) -> Probe:
        """``/health`` (vLLM: 503 when its engine is dead), then ``/v1/models``."""
        deadline = self._clock.monotonic() + PROBE_TIMEOUT
        try:
            health = await self._client.request(self._probes[0], deadline=deadline)
            if health.status == 200:
                return Probe(ready=True)
            if health.status == 503:
                return Probe(ready=False, detail="/health answers 503")
            models = await self._client.request(self._probes[1], deadline=deadline)
        except BackendError as error:
            return Probe(ready=False, detail=error.message)
        detail = "" if models.status == 200 else f"/v1/models answers {models.status}"
        return Probe(ready=models.status == 200, detail=detail)

    async def _models(self) -> tuple[bool, str]:
        deadline = self._clock.monotonic() + PROBE_TIMEOUT
        response = await self._client.request(self._probes[1], deadline=deadline)
        if response.status != 200:
            raise refused(response, now=self._clock.time(), secrets=self._secrets)
        names = _names_in(response.body)
        wanted = self._model
        if wanted is not None and wanted not in names:
            return False, f"{wanted} is not among {len(names)} models"
        return bool(names), ", ".join(names[:5]) or "no models are listed"


class _Listed(msgspec.Struct):
    id: str = ""


class _Listing(msgspec.Struct):
    data: list[_Listed] = []


def _names_in(body: bytes) -> list[str]:
    try:
        listing = msgspec.json.decode(body, type=_Listing)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return []
    return [one.id for one in listing.data if one.id]
