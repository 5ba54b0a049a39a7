"""Calls that are durable jobs: held when they are accepted, asked when they have their turn, and
left as they are by a gateway that ends."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable
from typing import Protocol

from adapters.errors import BackendError
from adapters.types import Reply
from gateway.active_policy import ActivePolicy
from gateway.calls.admitting import Admitting
from gateway.calls.backend_limits import NoRoom, TooLate
from gateway.calls.completion import Completion
from gateway.calls.failover import Failover
from gateway.calls.refusals import (
    PutOff,
    budget_held,
    budget_reached,
    helps,
    refusal_of,
    stopped,
    store_unavailable,
    too_late,
)
from gateway.calls.state import CallState
from gateway.calls.stream import SettledStream
from gateway.calls.top_up import TopUp
from gateway.clock import Clock
from gateway.holds.patience import WaitingForRoom
from gateway.money.limit_refusals import is_held, refusal
from gateway.routing.router import Quote
from gateway.routing.volume import CallVolume
from gateway.storage.base import StorageUnavailable
from gateway.tasks import take_back_cancellation
from gateway.types import ApiError


class _Quotes(Protocol):
    """Of the backends that the call may be sent to, now or ``whenever``. Raises ApiError where
    there are none, and StorageUnavailable."""

    def __call__(
        self, active: ActivePolicy, state: CallState, *, whenever: bool = False
    ) -> tuple[Quote, ...]: ...


class _Walk(Protocol):
    """From one backend to the next: an answer, or the last failure."""

    def __call__(
        self, active: ActivePolicy, state: CallState, quotes: tuple[Quote, ...]
    ) -> Awaitable[Reply | SettledStream | BackendError]: ...


class JobCalls:
    """What a dispatcher does for jobs."""

    def __init__(
        self,
        admitting: Admitting,
        completion: Completion,
        failover: Failover,
        top_up: TopUp,
        volume: CallVolume,
        *,
        clock: Clock,
        quotes: _Quotes,
        walk: _Walk,
    ) -> None:
        self._admitting = admitting
        self._completion = completion
        self._failover = failover
        self._top_up = top_up
        self._volume = volume
        self._clock = clock
        self._quotes = quotes
        self._walk = walk
        self._waiting = WaitingForRoom(clock)

    async def hold(self, active: ActivePolicy, state: CallState) -> None:
        """Admits a call that is asked later: what it holds is whoever's who keeps it. Raises
        ApiError, and then holds nothing."""
        try:
            quotes = self._quotes(active, state, whenever=True)
            await self._admitting.admit(active, state, quotes)
        except StorageUnavailable as unavailable:
            raise store_unavailable(unavailable) from None
        self._admitting.held.discard(state)
        self._volume.add(state.call.model, state.received_at)

    async def end_unasked(self, state: CallState, status: int, code: str) -> None:
        """Ends what such a call holds for which no backend is asked after all; one whose row is
        open is settled."""
        await self._completion.refused(state, status, code)

    async def go_on(
        self, active: ActivePolicy, state: CallState, *, at: str = "", ago_s: float = 0.0
    ) -> Reply | SettledStream:
        """Runs a job, which was admitted when it was accepted. ``at``: the backend where it was
        begun by another gateway, ``ago_s`` seconds before. Raises as ``Dispatcher.ask``
        does; PutOff before anything is settled; and LookupError where that backend is gone."""
        active.calls += 1
        try:
            self._admitting.held.add(state)
            try:
                if at:
                    quotes = self._begun(active, state, at, ago_s)
                    with contextlib.suppress(StorageUnavailable):  # it holds what it did
                        await self._admitting.hold_again(active, state)
                else:
                    quotes = await self._held(active, state)
            except BaseException:
                self._completion.leave(state)
                raise
            if active.bounds_repetitions:
                self._failover.count(state.route, quotes[0].backend, self._clock.monotonic())
            return await self._run(active, state, quotes)
        finally:
            active.calls -= 1

    async def _held(self, active: ActivePolicy, state: CallState) -> tuple[Quote, ...]:
        """Of the backends for which the job holds enough now, in limits too that came after it was
        accepted. Raises PutOff where there are none."""
        try:
            quotes = self._quotes(active, state)
            await self._admitting.hold_again(active, state)
        except StorageUnavailable as unavailable:
            raise PutOff(store_unavailable(unavailable)) from None
        except ApiError as error:
            raise PutOff(error) from None
        held = await self._top_up.hold_for(state, quotes)
        if not held:
            raise PutOff(await self._no_room(state, quotes))
        self._waiting.forget(state.call.id)
        if len(held) < len(quotes):
            state.narrowed(held)
        return held

    async def _no_room(self, state: CallState, quotes: tuple[Quote, ...]) -> ApiError:
        """A job that has not begun waits for what others hold, and is ended for what is spent."""
        try:
            comes_back = await self._top_up.will_have_room(state, quotes)
        except StorageUnavailable as unavailable:
            return store_unavailable(unavailable)
        if comes_back and (self._runs_beside(state) or self._waiting.has_patience(state.call.id)):
            return budget_held()
        self._waiting.forget(state.call.id)
        return budget_reached()

    def _runs_beside(self, state: CallState) -> bool:
        """Whether another call is at a backend of which a part of the hold may come back."""
        scopes = {claim.scope for claim in state.admission.claims}
        return any(
            other.attempt is not None and not scopes.isdisjoint(c.scope for c in claims)
            for other in self._admitting.held
            if other is not state and (claims := other.admission.claims)
        )

    def _begun(
        self, active: ActivePolicy, state: CallState, at: str, ago_s: float
    ) -> tuple[Quote, ...]:
        """The job has its attempt there again. Raises LookupError."""
        try:
            quotes = self._quotes(active, state, whenever=True)
        except ApiError as error:
            raise LookupError(at) from error
        quote = next((one for one in quotes if one.backend == at), None)
        if quote is None:
            raise LookupError(at)
        backend = state.backend = active.backends[at]
        state.begin(backend, quote, backend.adopt(ago_s), 0.0)
        return (quote, *(one for one in quotes if one is not quote))

    async def _run(
        self, active: ActivePolicy, state: CallState, quotes: tuple[Quote, ...]
    ) -> Reply | SettledStream:
        """As the dispatcher runs a call; but of what was not begun nothing is settled."""
        completion = self._completion
        try:
            answer = await self._walk(active, state, quotes)
            if not isinstance(answer, BackendError):
                return answer
            failed = refusal_of(answer, state.tried, state.unaffordable)
            if not helps(answer, state.tried):
                await completion.call_failed(state, answer)
                raise failed
            completion.leave(state, answer)
        except NoRoom as full:
            completion.leave(state)
            failed = budget_held() if is_held(full.refused) else refusal(full.refused)
        except TooLate as late:
            completion.leave(state)
            failed = too_late(late.least_s, late.left_s)
        except StorageUnavailable as unavailable:
            completion.leave(state)
            failed = store_unavailable(unavailable)
        except asyncio.CancelledError:
            await self._break_off(state)
            raise
        except ApiError:
            raise
        except Exception:
            await completion.abandon_after_fault(state)
            raise
        raise PutOff(failed)

    async def _break_off(self, state: CallState) -> None:
        """Raises what its caller is told where it was stopped for its budget or its time."""
        if state.stop_cause == "handed_over":
            self._completion.leave(state)
            return
        await self._completion.abandon(state)
        if (error := stopped(state.stop_cause)) is not None:
            take_back_cancellation()
            raise error from None
