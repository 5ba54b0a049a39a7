"""Calls of Modal functions through the platform's own SDK.

A whole call is spawned and then waited for, because only a spawned call can be cancelled:
cancelling the task that waits ends nothing at the platform. The submit outlives its caller, for
its answer alone names the call. Nothing is submitted twice.

The platform states neither times nor a price of a call, so a call is timed from its submit to
its result. Containers that crash as they start are started again without an end, and calls wait
meanwhile (https://modal.com/docs/guide/retries, as of 2026-11): one whose time is up and that no
container can have had was not begun.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any

from adapters.assumptions import ACCEPTED, tried
from adapters.base import PROBE_S, Clock
from adapters.errors import BackendError, FailureClass, was_closed
from adapters.http.outputs import answer_of
from adapters.modal.bill import bill_of
from adapters.modal.connection import ModalSession, Submitted
from adapters.modal.failures import after_submit, unreachable
from adapters.modal.jobs import ModalJobs
from adapters.modal.sdk import Session
from adapters.modal.settings import ModalSettings
from adapters.modal.stream import GeneratorStream
from adapters.modal.values import Arguments, arguments_of, json_of
from adapters.polling import Patience, note
from adapters.remote_jobs import RemoteJobs
from adapters.types import Assumption, Bill, Call, Probe, Progress, Reply, Usage
from adapters.waiting import before

WAIT_S = 50.0
"""Seconds that one wait for a result lasts: only at its end is it told that a result expired."""
_CONTROL_S = 10.0
_BILL_S = 60.0
_LOOK_S = 1.0
"""A call whose time is up waits no longer for what became of it."""
_SET_AGAIN_S = 600.0
"""After so long the autoscaler is told anew: a deploy resets it."""


class ModalFunctions:
    """The way of a backend with ``function`` or ``cls``. Raises BackendError and nothing else."""

    def __init__(
        self,
        settings: ModalSettings,
        clock: Clock,
        *,
        wait_s: float = WAIT_S,
        session: ModalSession | None = None,
    ) -> None:
        self._settings = settings
        self._wait_s = wait_s
        self._clock = clock
        self._secrets = settings.secrets
        self._session = session or ModalSession(settings, clock)
        self.jobs = ModalJobs(self._session, settings, clock, self._hand_over)
        self._known: RemoteJobs[Submitted] = RemoteJobs(self._stop, clock)
        self._submits: set[asyncio.Task[Submitted]] = set()
        self._active = 0
        self._name = settings.function or settings.method or ""
        self._autoscaler = settings.autoscaler
        self._set_again_at = float("-inf")

    def __repr__(self) -> str:
        return f"{self._active} active, {len(self._known)} known"

    def start(self) -> None:
        """Nothing: the first probe connects, so that a start waits for no platform."""

    async def aclose(self) -> None:
        """Cancels what still runs, for nobody will fetch it, and closes the connection. A submit
        on its way is waited for, briefly: its answer alone names the call, which Modal would run
        to the function's own time-out."""
        submits = [*self._submits, *self._known.submits]
        known = self._known.jobs
        await self._known.aclose()
        if submits:
            await self._session.briefly(asyncio.wait(submits))
        taken = (submit.result() for submit in submits if _went_well(submit))
        running = {id(one.remote): one for one in (*known, *taken)}
        if running:
            await self._session.briefly(asyncio.gather(*map(_cancel, running.values())))
        await self._session.aclose()

    async def invoke(self, call: Call, deadline: float) -> Reply:
        if call.stream and self._settings.stream is None:
            raise BackendError(FailureClass.UNSUPPORTED, "This backend streams nothing.")
        args = arguments_of(call.body, self._settings.arguments)
        self._active += 1
        try:
            if call.stream:
                return await self._stream(call, args, deadline)
            return await self._whole(call, args, deadline)
        finally:
            self._active -= 1

    async def cancel(self, call_id: str) -> Usage | None:
        """Stops a call at the platform, which does not say what it used."""
        return await self._known.cancel(call_id)

    async def ping(self) -> Usage:
        """One tiny call. A function that does not know it fails it, and its container is awake
        all the same."""
        started = self._clock.monotonic()
        deadline = started + self._settings.timeout
        tiny = self._settings.ping_input
        args: Arguments = ((), tiny) if self._settings.arguments == "keywords" else ((tiny,), {})
        try:
            submitted = await self._submitted("", args, deadline)
            await self._result("", submitted, started, deadline, Progress())
        except BackendError as error:
            if error.failure is not FailureClass.FAILED:
                raise
        return self._used(started)

    async def keep_workers(self, minimum: int) -> None:
        """Sets ``min_containers``. The gateway tells it again every ten minutes."""
        self._autoscaler = {**self._autoscaler, "min_containers": minimum}
        await self._session.ask(self._set_autoscaler, _CONTROL_S)

    async def bill(self, start: float, end: float) -> Bill:
        return await self._session.ask(lambda one: bill_of(one, start, end), _BILL_S)

    async def probe(self) -> Probe:
        """By the function's current stats. The platform does not say how many of its containers
        are still starting."""
        try:
            if self._autoscaler and self._clock.monotonic() >= self._set_again_at:
                await self._session.ask(self._set_autoscaler, PROBE_S)
            stats = await self._session.ask(self._stats, PROBE_S)
        except BackendError as error:
            return error.as_probe()
        up = int(stats.num_total_runners)
        return Probe(ready=up > 0, warm_workers=up, queued=int(stats.backlog))

    async def assumptions(self) -> list[Assumption]:
        """By lookups and stats alone, which cost nothing and start nothing."""
        found = [await tried(f"{ACCEPTED}, and {self._name} is deployed", self._deployed)]
        streamer = self._settings.stream
        if streamer is not None:
            claim = f"{streamer}, which streams, is deployed"
            found.append(await tried(claim, lambda: self._deployed(streamer)))
        return found

    # --- for a stream ----------------------------------------------------------------------

    def entered(self) -> None:
        """A stream has begun."""
        self._active += 1

    def left(self, closing: Coroutine[Any, Any, None]) -> None:
        """A stream has ended, well or not; its generator is closed behind it."""
        self._active -= 1
        self._session.keep(closing)

    def conclude(self, call_id: str, started: float) -> Usage:
        """A call has ended: what it used."""
        self._known.forget(call_id)
        return self._used(started)

    # --- the life of a call ----------------------------------------------------------------

    async def _whole(self, call: Call, args: Arguments, deadline: float) -> Reply:
        started = self._clock.monotonic()
        submitted = await self._submitted(call.id, args, deadline)
        value = await self._result(call.id, submitted, started, deadline, call.progress)
        usage = self._used(started)
        return answer_of(json_of(value, usage), call.task, usage, self._secrets)

    async def _hand_over(self, call: Call) -> Submitted:
        """Submits a call that is not this process's to end: closing the backend stops it not."""
        args = arguments_of(call.body, self._settings.arguments)
        deadline = min(call.deadline, self._clock.monotonic() + self._settings.timeout)
        submitted = await self._submitted(call.id, args, deadline)
        self._known.forget(call.id)
        return submitted

    async def _stream(self, call: Call, args: Arguments, deadline: float) -> Reply:
        started = self._clock.monotonic()
        submitted = await self._submitted(call.id, args, deadline, streamed=True)
        chunks = GeneratorStream(
            self,
            self._clock,
            items=submitted.items,
            call=call,
            started=started,
            deadline=deadline,
            stall=self._settings.stall_timeout,
            secrets=self._secrets,
        )
        await chunks.first()
        return Reply(content_type="text/event-stream", chunks=chunks)

    async def _submitted(
        self, call_id: str, args: Arguments, deadline: float, *, streamed: bool = False
    ) -> Submitted:
        name = self._settings.stream if streamed else self._name
        submit = self._session.submit(name or "", args, streamed=streamed)
        self._submits.add(submit)
        submit.add_done_callback(self._submits.discard)
        try:
            submitted = await before(self._clock, deadline, asyncio.shield(submit))
        except TimeoutError:
            self._known.keep(call_id, submit)
            raise BackendError(
                FailureClass.TIMEOUT, "The backend did not take the call in time."
            ) from None
        except asyncio.CancelledError:
            # Its answer may have come in this very turn of the loop, and names the call.
            self._known.keep(call_id, submit)
            if submit.cancelled():
                raise was_closed() from None
            raise
        self._known.remember(call_id, submitted)
        return submitted

    async def _result(
        self,
        call_id: str,
        submitted: Submitted,
        started: float,
        deadline: float,
        progress: Progress,
    ) -> Any:
        """The value that the function returned. It is no longer known after it has ended."""
        try:
            value = await before(self._clock, deadline, self._awaited(submitted))
        except TimeoutError:
            await self._look(progress)
            raise BackendError(
                FailureClass.TIMEOUT, "The backend did not finish in time."
            ) from None
        except BackendError as error:
            if not error.failure.maybe_running:
                self._known.forget(call_id)
                error.usage = self._used(started)
            raise
        self._known.forget(call_id)
        return value

    async def _awaited(self, submitted: Submitted) -> Any:
        patience = Patience()
        while True:
            try:
                return await submitted.remote.get.aio(timeout=self._wait_s)
            except TimeoutError:
                patience.went_well()
            except Exception as error:
                failure = after_submit(error, None, self._secrets)
                if failure.failure is not FailureClass.OVERLOADED:
                    raise failure from None
                await self._clock.sleep(max(patience.bear(failure), 0.1))

    async def _stop(self, submitted: Submitted) -> Usage | None:
        deadline = self._clock.monotonic() + _CONTROL_S
        try:
            await before(self._clock, deadline, _cancel(submitted))
        except Exception as error:
            raise unreachable(error, self._secrets) from None
        return None

    async def _look(self, progress: Progress) -> None:
        """Notes a call that waits where no container is up: of its own calls the platform tells
        nothing, and one whose containers crash as they start it keeps waiting for ever."""
        with contextlib.suppress(BackendError):
            stats = await self._session.ask(self._stats, _LOOK_S)
            if stats.backlog and not stats.num_total_runners:
                note(progress, self._clock.monotonic(), queued=True)

    async def _stats(self, session: Session, name: str = "") -> Any:
        function = await session.function(name or self._name)
        return await function.get_current_stats.aio()

    async def _deployed(self, name: str = "") -> tuple[bool, str]:
        stats = await self._session.ask(lambda one: self._stats(one, name), PROBE_S)
        return True, f"{int(stats.num_total_runners)} containers, {int(stats.backlog)} calls wait"

    async def _set_autoscaler(self, session: Session) -> None:
        function = await session.function(self._name)
        await function.autoscaler.update.aio(**self._autoscaler)
        self._set_again_at = self._clock.monotonic() + _SET_AGAIN_S

    def _used(self, started: float) -> Usage:
        return Usage(exec_s=max(0.0, self._clock.monotonic() - started))


def _went_well(submit: asyncio.Future[Submitted]) -> bool:
    return submit.done() and not submit.cancelled() and submit.exception() is None


async def _cancel(submitted: Submitted) -> None:
    await submitted.remote.cancel.aio()
