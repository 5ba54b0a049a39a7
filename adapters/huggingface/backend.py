"""Inference Endpoints of Hugging Face: vLLM, TGI, TEI, SGLang, llama.cpp, or code of one's own.

An endpoint's address is a proxy in front of its replicas. With ``X-Scale-Up-Timeout`` it holds a
request while the first replica boots; without it, and past it, it answers 503, which is also what
a full queue gets: the management API tells the two apart. Any request wakes an endpoint that has
scaled to zero, so the probe asks the management API alone.

Assumed, for nothing here was run against the live platform: the header takes whole seconds and
any number of them; a cold request that is left does not stop the boot; a paused endpoint answers
503, or 400 "Bad Request: Invalid state". No platform here takes an idempotency key: a lost answer
is AMBIGUOUS.

Source: https://huggingface.co/docs/inference-endpoints (autoscaling), as of 2026-08.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from adapters.assumptions import ACCEPTED, tried
from adapters.base import Clock
from adapters.cold_starts import ColdStarts
from adapters.errors import BackendError, FailureClass
from adapters.http.api import Api, below_v1
from adapters.http.backend import HttpBackend
from adapters.http.client import Origin
from adapters.http.endpoint_words import about_the_endpoint
from adapters.http.openai_calls import OpenAICalls
from adapters.http.response import Response
from adapters.huggingface.api import EndpointApi, probe_of, refusal_by
from adapters.huggingface.stream import TokenStream, usage_of
from adapters.names import Name, OwnedName
from adapters.routes import OPENAI_ROUTES
from adapters.settings import Duration, HttpSettings, HttpUrl, SecretStr, UrlPath
from adapters.shapes.json_texts import read_if
from adapters.types import Assumption, Call, Capabilities, Probe, Reply, Task, Usage

Engine = Literal["openai", "tgi", "tei", "custom"]

_ROUTES: dict[Engine, dict[Task, str]] = {
    "openai": OPENAI_ROUTES,
    "tgi": {**OPENAI_ROUTES, "infer": "/generate"},
    "tei": {"embeddings": "/v1/embeddings", "infer": "/embed"},
    "custom": {"infer": "/"},
}


class HuggingFaceSettings(HttpSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One Inference Endpoint, and the engine inside it."""

    base_url: HttpUrl
    """The endpoint's own address."""
    api_key: SecretStr
    """A token of Hugging Face, which may use the endpoint; to scale it, one that may write."""
    endpoint: OwnedName | None = None
    """namespace/name, by which the management API knows it. Left out: a 503 is not looked into,
    nothing is known of its replicas, and none can be kept."""
    engine: Engine = "openai"
    """What runs there: openai (vLLM, SGLang, llama.cpp), tgi, tei, or custom."""
    model: Name | None = None
    """The engine's own name for the model; left out: the caller's name is passed on."""
    infer_path: UrlPath | None = None
    """Where /v1/infer calls go; left out: /generate of tgi, /embed of tei, / of custom."""
    scale_up_wait: Duration = 300.0
    """How long the platform holds a call while a replica boots; afterwards it is LOADING."""
    at_zero: Literal["scale", "pause"] = "scale"
    """What keeping no workers means: let it scale to zero, or pause it. A paused endpoint does
    not wake by a call, only when workers are to be kept again."""
    management_url: HttpUrl = "https://api.endpoints.huggingface.cloud/v2"
    """Where the management API is."""
    warm_for: Duration = 3600.0
    """How long a replica stays up unused: the endpoint's scale-to-zero time."""
    stream_usage: bool = True
    """Ask every stream for its usage. Off for an engine that refuses stream_options."""

    def __post_init__(self) -> None:
        Origin(self.base_url)
        Origin(self.management_url)

    def routes(self) -> dict[Task, str]:
        """The path of each task that the engine takes."""
        own: dict[Task, str] = {} if self.infer_path is None else {"infer": self.infer_path}
        return {**_ROUTES[self.engine], **own}


class HuggingFace(HttpBackend):
    """One Inference Endpoint."""

    Settings = HuggingFaceSettings

    def __init__(self, name: str, settings: HuggingFaceSettings, clock: Clock) -> None:
        api = Api.keyed(settings, clock, url=below_v1(settings.base_url))
        super().__init__(name, api, Capabilities(tasks=frozenset(settings.routes())))
        self._settings = settings
        self._heads = api.heads(settings.routes())
        self._tokens = b""
        if settings.engine == "tgi" and settings.infer_path is None:
            self._tokens = api.head("POST", "/generate_stream")
        self._starts = ColdStarts(clock, settings.warm_for)
        self._endpoint = None
        if settings.endpoint is not None:
            self._endpoint = EndpointApi(
                settings.management_url, settings.endpoint, settings.api_key, settings, clock
            )
        self._calls = OpenAICalls(
            api,
            settings,
            model=settings.model,
            stream_usage=settings.stream_usage,
            refuse=self._explained,
        )

    async def start(self) -> None:
        await super().start()
        if self._endpoint is not None:
            self._endpoint.start()

    async def aclose(self) -> None:
        await super().aclose()
        if self._endpoint is not None:
            await self._endpoint.aclose()

    async def invoke(self, call: Call) -> Reply:
        began = self._clock.monotonic()
        cold = self._starts.expected()
        deadline = min(call.deadline, began + self._settings.timeout)
        if call.stream and call.task == "infer" and self._tokens:
            reply = await self._token_stream(call, deadline, began)
        else:
            head = self._heads.get(call.task)
            reply = await self._calls.ask(call, head and head + self._hold(deadline - began))
            reply = _with_details(call, reply)
        return self._starts.with_start(reply, began, cold=cold)

    async def ping(self) -> Usage:
        """Wakes a replica by asking ``/health``; resumes an endpoint that is paused."""
        began = self._clock.monotonic()
        if self._endpoint is not None and (await self._endpoint.status()).state == "paused":
            await self._endpoint.resume()
        within = self._settings.scale_up_wait + self._settings.connect_timeout
        head = self._api.head("GET", "/health") + self._hold(within)
        response = await self._api.client.request(head, deadline=began + within)
        if response.status != 200:
            raise await self._explained(response)
        cold, taken = self._starts.expected(), self._clock.monotonic() - began
        self._starts.observe(warm=True)
        return Usage(cold_s=taken if cold else 0.0, exec_s=0.0 if cold else taken)

    async def keep_workers(self, minimum: int) -> None:
        """Sets ``minReplica``; with ``at_zero: pause``, keeping none pauses the endpoint."""
        if self._endpoint is None:
            raise BackendError(
                FailureClass.UNSUPPORTED, "Set the backend's endpoint to keep workers there."
            )
        if minimum == 0 and self._settings.at_zero == "pause":
            await self._endpoint.pause()
        else:
            await self._endpoint.keep(minimum)

    async def probe(self) -> Probe:
        if self._endpoint is None:
            ready = not self._starts.expected()
            detail = "not asked, which would wake it: no endpoint is set"
            return Probe(ready=ready, detail=detail, asked=False)
        try:
            probe = probe_of(await self._endpoint.status())
        except BackendError as error:
            return error.as_probe()
        self._starts.observe(warm=probe.ready)
        return probe

    async def assumptions(self) -> list[Assumption]:
        claims = (f"{ACCEPTED}, and the endpoint is found", "its replicas are counted")
        if self._endpoint is None:
            return [Assumption(claim=one, holds=None, found="no endpoint is set") for one in claims]
        found = await tried(claims[0], self._found)
        counted = await tried(claims[1], self._counted)
        return [found, counted] if found.holds else [found]

    # --- inside ----------------------------------------------------------------------------

    async def _found(self) -> tuple[bool, str]:
        assert self._endpoint is not None
        state = (await self._endpoint.status()).state
        return bool(state), f"it is {state}" if state else "its state is not told"

    async def _counted(self) -> tuple[bool, str]:
        assert self._endpoint is not None
        status = await self._endpoint.status()
        return status.ready is not None, f"{status.ready} ready of {status.target}"

    async def _token_stream(self, call: Call, deadline: float, began: float) -> Reply:
        head = self._tokens + self._hold(deadline - began)
        answer = await self._calls.open(head, call.body, deadline)
        chunks = TokenStream(
            answer,
            self._clock,
            began,
            self._api.secrets,
            max_event=self._settings.max_event,
        )
        await chunks.first()
        return Reply(content_type="text/event-stream", chunks=chunks)

    def _hold(self, left: float) -> bytes:
        """Held a little less than the caller waits, so that the refusal comes before he leaves
        and another backend can still be asked."""
        seconds = int(min(self._settings.scale_up_wait, left - 1.0))
        return b"X-Scale-Up-Timeout: %d\r\n" % seconds if seconds >= 1 else b""

    async def _explained(self, response: Response) -> BackendError:
        error = about_the_endpoint(self._api.refusal(response))
        if response.status != 503 or self._endpoint is None:
            return error
        try:
            meant = refusal_by(await self._endpoint.status(), error)
        except BackendError:
            return error
        if meant.failure is FailureClass.LOADING:
            self._starts.observe(warm=False)
        return meant


class _Generated(msgspec.Struct):
    details: dict[str, object] | None = None


def _with_details(call: Call, reply: Reply) -> Reply:
    """The tokens that TGI counts, where the caller asked for ``details``."""
    if call.task != "infer" or b'"details"' not in reply.body:
        return reply
    one = read_if(reply.body, _Generated) or _only_one(reply.body)
    if one is None:
        return reply
    return msgspec.structs.replace(reply, usage=usage_of(one.details, reply.usage.exec_s or 0.0))


def _only_one(body: bytes) -> _Generated | None:
    """The one generation of a list of one."""
    several = read_if(body, list[_Generated])
    return several[0] if several and len(several) == 1 else None
