"""Modal: a deployed function or a class's method by its own SDK, or a web endpoint by HTTPS.

The platform takes no idempotency key, states no times and no price of a call, and goes on with a
call that nobody waits for: it is cancelled by ``cancel``, or by its function's own time limit.
How much of a call was a container's start is an estimate (``adapters/cold_starts.py``).

Assumed, for nothing here was run against the live platform: see ``docs/adapters/modal.md``.
"""

from __future__ import annotations

from adapters.base import Clock
from adapters.cold_starts import ColdStarts
from adapters.errors import BackendError, FailureClass, takes_no
from adapters.modal.functions import ModalFunctions
from adapters.modal.settings import ModalSettings
from adapters.modal.web import ModalEndpoint
from adapters.types import (
    ALL_TASKS,
    INFER_ONLY,
    Assumption,
    Bill,
    Call,
    Capabilities,
    Handle,
    JobState,
    Probe,
    Reply,
    Usage,
)

_NO_JOBS = "A web endpoint has no jobs."


class Modal:
    """A function, a class's method, or a web endpoint."""

    Settings = ModalSettings

    def __init__(self, name: str, settings: ModalSettings, clock: Clock) -> None:
        self.name = name
        self._settings = settings
        self._clock = clock
        self._functions = None if settings.url is not None else ModalFunctions(settings, clock)
        self._starts = ColdStarts(clock, settings.warm_for)
        self._way = self._functions or ModalEndpoint(settings, clock)
        self._capabilities = Capabilities(
            tasks=ALL_TASKS if settings.openai else INFER_ONLY,
            streaming=settings.url is not None or settings.stream is not None,
        )

    def __repr__(self) -> str:
        return f"<Modal {self.name}: {self._way!r}>"

    @property
    def capabilities(self) -> Capabilities:
        return self._capabilities

    @property
    def slots(self) -> int | None:
        return self._settings.slots

    async def start(self) -> None:
        self._way.start()

    async def aclose(self) -> None:
        await self._way.aclose()

    async def invoke(self, call: Call) -> Reply:
        if call.task not in self._capabilities.tasks:
            raise takes_no(f"{call.task} calls")
        began = self._clock.monotonic()
        cold = self._starts.expected()
        reply = await self._way.invoke(call, min(call.deadline, began + self._settings.timeout))
        return self._starts.with_start(reply, began, cold=cold)

    async def cancel(self, call_id: str) -> Usage | None:
        """Stops a function's call. An endpoint's ends with its connection, if the app heeds it."""
        return None if self._functions is None else await self._functions.cancel(call_id)

    async def ping(self) -> Usage:
        cold = self._starts.expected()
        taken = (await self._way.ping()).exec_s or 0.0
        self._starts.observe(warm=True)
        return Usage(cold_s=taken if cold else 0.0, exec_s=0.0 if cold else taken)

    async def keep_workers(self, minimum: int) -> None:
        """Sets a function's ``min_containers``; an endpoint by its address cannot be scaled."""
        await self._called("A web endpoint's containers cannot be kept.").keep_workers(minimum)

    async def bill(self, start: float, end: float) -> Bill:
        """What the app of a function cost, all of its functions together."""
        return await self._called("A web endpoint by its address names no app to bill.").bill(
            start, end
        )

    async def probe(self) -> Probe:
        """A function's stats say what is up. An endpoint cannot be asked without waking a
        container: it is taken to be up for a while after a call."""
        if self._functions is None:
            ready = not self._starts.expected()
            detail = "not asked, which would wake a container"
            return Probe(ready=ready, detail=detail, asked=False)
        probe = await self._functions.probe()
        if probe.warm_workers is not None:
            self._starts.observe(warm=probe.ready)
        return probe

    async def assumptions(self) -> list[Assumption]:
        """Of functions. An endpoint cannot be asked anything without waking a container."""
        return [] if self._functions is None else await self._functions.assumptions()

    # --- jobs that outlive their caller ----------------------------------------------------

    async def submit(self, call: Call) -> Handle:
        if call.task not in self._capabilities.tasks:
            raise takes_no(f"{call.task} calls")
        return await self._called(_NO_JOBS).jobs.submit(call)

    async def poll(self, handle: Handle) -> JobState:
        return await self._called(_NO_JOBS).jobs.poll(handle)

    async def stop(self, handle: Handle) -> Usage | None:
        return await self._called(_NO_JOBS).jobs.stop(handle)

    # --- inside ----------------------------------------------------------------------------

    def _called(self, otherwise: str) -> ModalFunctions:
        """The functions of a backend that has them. Raises UNSUPPORTED with ``otherwise``."""
        if self._functions is None:
            raise BackendError(FailureClass.UNSUPPORTED, otherwise)
        return self._functions
