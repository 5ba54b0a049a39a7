"""Asks an inference engine how it stands: which one it is, its load, how much it can take.

An engine that was not named is looked for once, by small questions that end after two seconds
together, and again after it was away or no longer answers as it did: another may have taken its
place. A server that answers none of them costs nothing more.
"""

from __future__ import annotations

from typing import Literal

from adapters.base import PROBE_S
from adapters.errors import BackendError
from adapters.http.api import Api
from adapters.http.failures import clean
from adapters.http.response import Response
from adapters.openai.engines import QUESTIONS, SIGNS, Engine, EngineLoad, EngineQuestion
from adapters.shapes.error_words import message_of
from adapters.types import Probe

SEARCH_S = 2.0
"""A server that holds the question for a path that it does not know is left alone."""

Named = Literal["auto", "vllm", "sglang", "llamacpp", "tgi", "none"]
_UNKNOWN = EngineLoad()


class EngineProbe:
    """The engine behind one address, as it was last seen. ``named``: which one it is, ``auto``
    where that is to be found out, ``none`` where it is not to be asked. One that lists no models is
    up where it answers at all."""

    def __init__(self, api: Api, named: Named = "auto", *, lists_models: bool = True) -> None:
        self._api = api
        self._lists_models = lists_models
        self._clock = api.clock
        self._named = named
        self._engine: Engine | None = None
        self._searched = False
        self.load = _UNKNOWN
        self._forget()

    async def probe(self) -> Probe:
        """``/health`` (503: dead, or loading), else ``/v1/models``; then the engine's own words."""
        deadline = self._clock.monotonic() + PROBE_S
        try:
            health = await self._get("/health", deadline)
            if health.status != 200:
                return await self._not_healthy(health, deadline)
        except BackendError as error:
            self._forget()
            return error.as_probe()
        return await self._ready(health, deadline)

    # --- inside ----------------------------------------------------------------------------

    async def _get(self, path: str, deadline: float) -> Response:
        return await self._api.send("GET", path, deadline=deadline)

    async def _not_healthy(self, health: Response, deadline: float) -> Probe:
        """503 is an answer; any other is that of a server without this path."""
        if health.status == 503:
            said = clean(message_of(health.body), self._api.secrets)
            detail = f"/health answers 503{f': {said}' if said else ''}"
            return self._away(detail)
        if not self._lists_models:
            return Probe(ready=True)
        models = await self._get("/v1/models", deadline)
        if models.status != 200:
            return self._away(f"/v1/models answers {models.status}")
        return await self._ready(models, deadline)

    def _away(self, detail: str) -> Probe:
        self._forget()
        return Probe(ready=False, detail=detail)

    def _forget(self) -> None:
        named = self._named
        self._engine = None if named == "auto" or named == "none" else named
        self._searched = named != "auto"

    async def _ready(self, answer: Response, deadline: float) -> Probe:
        """The server is up; whatever its engine says or does not say of itself."""
        if not self._searched:
            await self._search(answer)
        if self._engine is None:
            return Probe(ready=True)
        load = await self._ask(self._engine, deadline)
        if load is None:
            self._forget()
            return Probe(ready=True, detail=f"{self._engine}: nothing of its load was read")
        self.load = load
        return _probe_of(self._engine, load)

    async def _search(self, answer: Response) -> None:
        """Sets the engine. llama.cpp names itself; asking it more could keep it awake."""
        self._searched = True
        if (answer.header(b"server") or "").startswith("llama.cpp"):
            self._engine = "llamacpp"
            return
        deadline = self._clock.monotonic() + SEARCH_S
        answers: dict[str, bytes | None] = {}
        for engine, question in SIGNS:
            if question.path not in answers:
                answers[question.path] = await self._body(question.path, deadline)
            body = answers[question.path]
            if body is not None and question.read(body) is not None:
                self._engine = engine
                return

    async def _ask(self, engine: Engine, deadline: float) -> EngineLoad | None:
        """What the engine's answers say together; None where it gave none that could be read."""
        found = None
        for group in QUESTIONS[engine]:
            load = await self._first(group, deadline)
            if load is not None:
                found = load if found is None else found.and_then(load)
        return found

    async def _first(self, group: tuple[EngineQuestion, ...], deadline: float) -> EngineLoad | None:
        for question in group:
            if question.wakes and not self._api.client.in_use:
                continue
            body = await self._body(question.path, deadline)
            load = None if body is None else question.read(body)
            if load is not None:
                return load.credible()
        return None

    async def _body(self, path: str, deadline: float) -> bytes | None:
        """What a path answers with 200; None for all else, a silence included."""
        if self._clock.monotonic() >= deadline:
            return None
        try:
            response = await self._get(path, deadline)
        except BackendError:
            return None
        return response.body if response.status == 200 else None


def _probe_of(engine: Engine, load: EngineLoad) -> Probe:
    return Probe(
        ready=not load.asleep,
        warm_workers=None if load.asleep is None else int(not load.asleep),
        running=load.running,
        queued=load.queued,
        counts_all=load.running is not None,
        detail=f"{engine}, asleep" if load.asleep else engine,
    )
