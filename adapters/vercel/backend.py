"""Vercel's AI Gateway: many providers' models behind OpenAI's protocol, billed by the token.

It is always warm, and there is nothing to scale. What a call cost is in its answer, or can be
looked up shortly afterwards by the generation's name; where neither comes within ``cost_wait``,
the price of the policy is the estimate.

Assumed, for nothing here was run against the live platform: what ``cost.py`` says; that a
generation that is not known yet is answered with 404; that ``/credits`` needs the key.

Source: https://vercel.com/docs/ai-gateway, as of 2026-09.
"""

from __future__ import annotations

from typing import Any

import msgspec

from adapters.assumptions import ACCEPTED, tried
from adapters.base import Clock
from adapters.errors import BackendError
from adapters.http.api import Api
from adapters.http.backend import HttpBackend
from adapters.http.client import Origin
from adapters.http.openai_calls import EventStream, OpenAICalls, append_field
from adapters.names import Name, PathName
from adapters.settings import Duration, HttpSettings, HttpUrl, SecretStr
from adapters.shapes.json_texts import read_if
from adapters.types import Assumption, Bill, Call, Capabilities, Chunk, Probe, Reply, Task, Usage
from adapters.vercel.bill import bill_of, query_for
from adapters.vercel.cost import ReportedCost, cost_in

_ROUTES: dict[Task, str] = {"chat": "/chat/completions", "embeddings": "/embeddings"}
_BILL_S = 30.0
_LOOK_EVERY_S = 0.1
_NOBODYS = "gen_" + "0" * 26


class VercelSettings(HttpSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One account's use of the AI Gateway."""

    api_key: SecretStr
    """A key of the AI Gateway, or an OIDC token, which lasts 12 hours."""
    model: Name | None = None
    """creator/model; left out: the caller's name is passed on."""
    team: PathName | None = None
    """For a token that may act for several teams: the team that pays."""
    options: dict[str, Any] | None = None
    """providerOptions.gateway of calls that bring none of their own: order, only, models, tags."""
    cost_wait: Duration = 0.5
    """How long an answer, or the end of a stream, may wait for its cost to be looked up where it
    does not say it; 0: it is never looked up."""
    base_url: HttpUrl = "https://ai-gateway.vercel.sh/v1"
    """Where the platform is."""
    stream_usage: bool = True
    """Ask every stream for its usage."""

    def __post_init__(self) -> None:
        Origin(self.base_url)


class Vercel(HttpBackend):
    """The AI Gateway, for one model or for whichever the caller names."""

    Settings = VercelSettings

    def __init__(self, name: str, settings: VercelSettings, clock: Clock) -> None:
        team = {} if settings.team is None else {"x-vercel-ai-gateway-team": settings.team}
        api = Api.keyed(settings, clock, more=team)
        super().__init__(name, api, Capabilities(tasks=frozenset(_ROUTES)))
        self._settings = settings
        self._heads = api.heads(_ROUTES)
        self._options: bytes | None = None
        if settings.options is not None:
            options = msgspec.json.encode({"gateway": settings.options})
            self._options = b'"providerOptions":' + options
        self._calls = OpenAICalls(
            api, settings, model=settings.model, stream_usage=settings.stream_usage
        )

    async def invoke(self, call: Call) -> Reply:
        reply = await self._calls.ask(self._with_options(call), self._heads.get(call.task))
        if isinstance(reply.chunks, EventStream):
            chunks = PricedStream(reply.chunks, self, call.deadline)
            return msgspec.structs.replace(reply, chunks=chunks)
        usage = await self.priced(reply.usage, cost_in(reply.body), call.deadline)
        return msgspec.structs.replace(reply, usage=usage)

    async def bill(self, start: float, end: float) -> Bill:
        """What the whole account cost, by the day, whoever called. The platform charges half a
        cent for the question."""
        response = await self._api.ask("GET", query_for(start, end), within=_BILL_S)
        return bill_of(response.body, start, end)

    async def probe(self) -> Probe:
        """``/credits``, which costs nothing: whether the key is taken, and what is left."""
        try:
            response = await self._api.send("GET", "/credits")
        except BackendError as error:
            return error.as_probe()
        if response.status != 200:
            return Probe(ready=False, detail=f"/credits answers {response.status}")
        return Probe(ready=True, detail="no credit is left" if _is_spent(response.body) else "")

    async def assumptions(self) -> list[Assumption]:
        return [
            await tried(f"{ACCEPTED}, and the balance is told", self._balance),
            await tried("a generation that is not known is answered with 404", self._no_generation),
        ]

    async def priced(self, usage: Usage, reported: ReportedCost, deadline: float) -> Usage:
        """The usage with what the call cost, as far as that is to be learned in time."""
        cost = reported.cost_nano
        if cost is None and reported.generation is not None:
            cost = await self._look_up(reported.generation, deadline)
        return usage if cost is None else msgspec.structs.replace(usage, cost_nano=cost)

    # --- inside ----------------------------------------------------------------------------

    async def _balance(self) -> tuple[bool, str]:
        balance = _balance_in((await self._api.ask("GET", "/credits")).body)
        return balance is not None, "it is not" if balance is None else f"{balance:.2f} USD"

    async def _no_generation(self) -> tuple[bool, str]:
        status = (await self._api.send("GET", f"/generation?id={_NOBODYS}")).status
        return status == 404, f"HTTP {status}"

    def _with_options(self, call: Call) -> Call:
        if self._options is None or b'"providerOptions"' in call.body:
            return call
        body = append_field(call.body, self._options)
        return call if body is None else msgspec.structs.replace(call, body=body)

    async def _look_up(self, generation: str, deadline: float) -> int | None:
        """Asked until it is known, for ``cost_wait`` at most."""
        until = min(deadline, self._clock.monotonic() + self._settings.cost_wait)
        path = f"/generation?id={generation}"
        head = self._api.head("GET", path)
        while self._clock.monotonic() < until:
            try:
                response = await self._api.client.request(head, deadline=until)
            except BackendError:
                return None
            if response.status == 200:
                return cost_in(response.body).cost_nano
            if response.status not in (404, 429, 503):
                return None
            await self._clock.sleep(min(_LOOK_EVERY_S, max(0.0, until - self._clock.monotonic())))
        return None


class PricedStream:
    """A stream whose last chunk tells what it cost."""

    def __init__(self, events: EventStream, vercel: Vercel, deadline: float) -> None:
        self._events = events
        self._vercel = vercel
        self._deadline = deadline

    def __aiter__(self) -> PricedStream:
        return self

    async def __anext__(self) -> Chunk:
        chunk = await anext(self._events)
        if chunk.usage is None:
            return chunk
        reported = cost_in(self._events.telling)
        if chunk.kind != "done":
            reported = ReportedCost(reported.cost_nano)  # only the end may wait for a look-up
        usage = await self._vercel.priced(chunk.usage, reported, self._deadline)
        return msgspec.structs.replace(chunk, usage=usage)

    async def aclose(self) -> None:
        await self._events.aclose()


class _Credits(msgspec.Struct):
    balance: str | float


def _balance_in(body: bytes) -> float | None:
    """US dollars; the platform writes them as text."""
    credits = read_if(body, _Credits)
    try:
        return None if credits is None else float(credits.balance)
    except ValueError:
        return None


def _is_spent(body: bytes) -> bool:
    balance = _balance_in(body)
    return balance is not None and balance <= 0
