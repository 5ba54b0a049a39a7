"""One call's life at the gateway: its hold, its lease, its attempts, and its one settlement."""

from __future__ import annotations

import asyncio
from typing import Literal

import msgspec

from adapters.errors import BackendError, FailureClass
from adapters.types import Call, Usage
from gateway.active_policy import NO_WISH, Preferences
from gateway.backends.live import Lease, LiveBackend
from gateway.money.pricing import charge, credible
from gateway.policy.model import Price
from gateway.routing.router import Decision, Quote, ReasonCode
from gateway.storage.base import Admitted, Claim, LedgerRow, Outcome
from gateway.types import MICRO, Principal

StopCause = Literal["", "disconnected", "budget", "fault"]

BROKEN_OFF: dict[StopCause, tuple[Outcome, int, str]] = {
    "": ("cancelled", 499, "cancelled"),
    "disconnected": ("disconnected", 499, "disconnected"),
    "budget": ("error", 402, "budget_exhausted"),
    "fault": ("error", 500, "internal_error"),
}
"""Why a call was broken off -> what its row says: outcome, status, error."""


_HELD = frozenset(("gpu_us", "nano_usd"))

WORK_DONE = frozenset(
    (
        FailureClass.FAILED,
        FailureClass.TIMEOUT,
        FailureClass.AMBIGUOUS,
        FailureClass.TRUNCATED,
        FailureClass.CANCELLED,
    )
)
"""Failures after which the backend has run, or may have: what it used is charged."""


class Arrival(msgspec.Struct, frozen=True):
    """What the door knows of a call, beside the call itself."""

    principal: Principal
    received: float
    """Monotonic seconds."""
    received_at: float
    """Seconds since the epoch."""


class StreamProgress(msgspec.Struct):
    """How far the answer has come; filled in by the relay."""

    usage: Usage | None = None
    events: int = 0
    """Events passed to the caller; each is about one token where no usage is reported."""


class CallState:
    """State of one call. The dispatcher moves it on; nobody else writes to it."""

    def __init__(
        self,
        call: Call,
        arrival: Arrival,
        policy: str,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        """Belongs to the task that makes it. ``loop`` is the one that runs: to be told is cheaper
        than to ask, which is a system call."""
        self.call = call
        self.arrival = arrival
        self.policy = policy
        self.wish: Preferences = NO_WISH
        self.decision: Decision | None = None
        self.admitted: Admitted | None = None
        self.claims: tuple[Claim, ...] = ()
        self.hold_nano = 0
        self.opened = False
        self.settled = False
        self.standing: LiveBackend | None = None
        self.quote: Quote | None = None
        self.lease: Lease | None = None
        self.reason: ReasonCode = "NONE"
        self.asked_at = 0.0
        self.waited_s = 0.0
        """Seconds in the gateway's own queue for a place at the backend."""
        self.progress = StreamProgress()
        self.attempts: list[LedgerRow] = []
        self.tried: list[str] = []
        self.stop_cause: StopCause = ""
        self.row: LedgerRow | None = None
        self.answered_s = 0.0
        self._task = asyncio.current_task(loop)

    @property
    def principal(self) -> Principal:
        return self.arrival.principal

    @property
    def backend(self) -> str:
        return "" if self.standing is None else self.standing.name

    @property
    def cost_nano(self) -> int:
        """What the caller is charged, once the call is settled."""
        row = self.row
        return 0 if row is None else row.cost_nano + sum(a.cost_nano for a in self.attempts)

    def stop(self, cause: StopCause) -> None:
        """Breaks the call off, whatever it waits for."""
        if not self.settled and not self.stop_cause and self._task is not None:
            self.stop_cause = cause
            self._task.cancel()

    # --- rows ---------------------------------------------------------------------------------

    def open_row(self) -> LedgerRow:
        """The row that must be durable before a paid backend is asked."""
        assert self.decision is not None
        # What is left to settle if this process dies; a rate is not given back by then.
        return self._row(tuple(claim for claim in self.claims if claim.unit in _HELD))

    def end_row(
        self, outcome: Outcome, usage: Usage | None, *, status: int, error: str, now_at: float
    ) -> LedgerRow:
        """The settled row. ``usage`` is what is charged; ``None``: nothing was used."""
        used = NOTHING if usage is None else usage
        cost = 0 if usage is None else charge(self.price, used)
        return msgspec.structs.replace(
            self._row(),
            outcome=outcome,
            ended_at=now_at,
            status=status,
            error=error,
            input_tokens=used.input_tokens or 0,
            output_tokens=used.output_tokens or 0,
            queue_us=_microseconds((used.queue_s or 0.0) + self.waited_s),
            cold_us=_microseconds(used.cold_s),
            exec_us=_microseconds(used.exec_s),
            gpu_us=_microseconds(used.gpu_s),
            cost_nano=cost,
            cost_basis="none" if not cost else "reported" if used.reported else "estimated",
            worker=used.worker or "",
        )

    def _row(self, claims: tuple[Claim, ...] = ()) -> LedgerRow:
        """What is known of the call however it ends."""
        call, principal, decision = self.call, self.principal, self.decision
        return LedgerRow(
            id=call.id,
            started_at=self.arrival.received_at,
            key_id=principal.key_id,
            user=principal.user,
            plan=principal.plan,
            tags=principal.tags,
            model=call.model,
            task=call.task,
            backend=self.backend,
            reason=self.reason,
            route="" if decision is None else decision.route,
            policy=self.policy,
            stream=call.stream,
            hold_nano=self.hold_nano,
            price=self._price_name,
            claims=claims,
        )

    @property
    def price(self) -> Price | None:
        return None if self.standing is None else self.standing.price

    @property
    def _price_name(self) -> str:
        return "" if self.standing is None else self.standing.spec.common.price or ""

    # --- what was used ------------------------------------------------------------------------

    def used(self, reported: Usage) -> Usage:
        """A success's usage, with the device's share filled in where the backend stated none, and
        the tokens of a stream, where they are paid and nobody counted them: a whole stream must not
        be cheaper than one that was cut."""
        reported = credible(reported)
        if reported.output_tokens is None and self.progress.events and by_tokens(self.price):
            reported = self._counted(reported)
        if reported.gpu_s is not None or reported.exec_s is None or self.standing is None:
            return reported
        return msgspec.structs.replace(
            reported, gpu_s=device_share(self.price, reported.exec_s, self.standing.in_flight)
        )

    def charged_from(self) -> float:
        """The earliest instant from which the call may be charged for time: a wait in the
        platform's own queue costs nothing, except for what may have been a billed start."""
        start_s = 0.0 if self.standing is None else self.standing.billed_start_s
        return max(self.asked_at, self.call.progress.queued_until - start_s)

    def _waited_there(self) -> tuple[float, float]:
        """Seconds that the call was seen to wait at the platform: in line, and for a start that
        was expected and is billed."""
        waited = max(0.0, self.call.progress.queued_until - self.asked_at)
        cold = 0.0
        if self.standing is not None and self.lease is not None and self.lease.expected_cold:
            cold = min(waited, self.standing.billed_start_s)
        return waited - cold, cold

    def used_until(self, now: float, reported: Usage | None) -> Usage:
        """What a call that was broken off used: what was reported, else what was seen."""
        queue_s, cold_s = self._waited_there()
        elapsed = max(0.0, now - self.asked_at - queue_s - cold_s)
        seen = self._counted(credible(reported or self.progress.usage or NOTHING))
        in_flight = 1 if self.standing is None else self.standing.in_flight
        exec_s = elapsed if seen.exec_s is None else seen.exec_s
        share = device_share(self.price, exec_s, in_flight)
        return msgspec.structs.replace(
            seen,
            queue_s=queue_s if seen.queue_s is None else seen.queue_s,
            cold_s=cold_s if seen.cold_s is None else seen.cold_s,
            exec_s=exec_s,
            gpu_s=share if seen.gpu_s is None else seen.gpu_s,
            reported=reported is not None and reported.reported,
        )

    def _counted(self, seen: Usage) -> Usage:
        """With tokens as the gateway can count them, where nobody said how many there were."""
        given, made = seen.input_tokens, seen.output_tokens
        return msgspec.structs.replace(
            seen,
            input_tokens=len(self.call.body) // 4 if given is None else given,
            output_tokens=self.progress.events if made is None else made,
        )

    def used_by_failure(self, failure: BackendError, now: float) -> Usage | None:
        """What a failed attempt is charged for: what the platform reported, else the time it had
        where it ran or may have run, else nothing."""
        if failure.usage is not None:
            return self.used(failure.usage)
        if failure.failure in WORK_DONE:
            return self.used_until(now, None)
        return None


def device_share(price: Price | None, exec_s: float, in_flight: int) -> float:
    """Device seconds of a call on a backend that states none: its time, divided by the calls
    that share a reserved machine; nothing where tokens are bought."""
    if price is None or price.reserved:
        return exec_s / max(in_flight, 1)
    return exec_s if price.per_second is not None else 0.0


def by_tokens(price: Price | None) -> bool:
    return price is not None and bool(price.per_million_input or price.per_million_output)


NOTHING = Usage()


def _microseconds(seconds: float | None) -> int:
    return 0 if seconds is None else round(seconds * MICRO)
