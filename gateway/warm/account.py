"""What the warm pool spends: of the gateway's own limits, in rows of its own account."""

from __future__ import annotations

import logging
import os

import msgspec

from adapters.types import Usage
from gateway.backends.live import LiveBackend
from gateway.clock import Clock
from gateway.money.counted import Part
from gateway.money.limits import backend_claims, warm_pool_claims
from gateway.money.pricing import Estimate, Expectation, estimate
from gateway.money.scopes import ACCOUNT
from gateway.money.settling.interrupted import held_beside
from gateway.money.settling.settlement import Settler
from gateway.policy.model import Policy
from gateway.storage.base import (
    Claim,
    Hold,
    Ledger,
    LedgerRow,
    MaybeWritten,
    Outcome,
    Refused,
    SharedStore,
    StorageUnavailable,
)
from gateway.storage.claims import CallClaims
from gateway.types import MICRO

log = logging.getLogger("spillgate")

_GRACE_S = 60.0


class Expense(msgspec.Struct, frozen=True):
    """Something that the pool does: admitted, and durable where it costs anything."""

    row: LedgerRow
    opened: bool


class WarmAccount:
    """Holds and settles as the calls of callers do. Its own are the limits of the warm pool, of the
    whole gateway and of the backend: nobody's key and nobody's plan pays for it."""

    def __init__(
        self, *, shared: SharedStore, ledger: Ledger, settler: Settler, clock: Clock
    ) -> None:
        self._shared = shared
        self._ledger = ledger
        self._settler = settler
        self._clock = clock
        self._held: dict[str, tuple[LedgerRow, float]] = {}
        """What is not settled, by its id, and until when it holds."""

    async def reinstate(self) -> None:
        """Pings and periods that are not settled hold again what they held, where the store has
        forgotten it. Raises StorageUnavailable."""
        for id, (row, until) in tuple(self._held.items()):
            left_s = until - self._clock.monotonic()
            for hold in _holds(row) if left_s > 0 and id in self._held else ():
                await self._shared.reinstate(hold.id, hold.claims, left_s)
                if id not in self._held:
                    await self._shared.release(hold.id)

    async def open(
        self,
        policy: Policy,
        backend: LiveBackend,
        task: str,
        reason: str,
        *,
        nano: int,
        lasts_s: float,
    ) -> Expense | None:
        """Holds ``nano`` nano-dollars and ``lasts_s`` seconds of device; None where the limits have
        no room for that. Raises StorageUnavailable."""
        now_at = self._clock.time()
        row = _row(backend, task, reason, policy.version, now_at)
        if backend.price is not None:
            row = _holding(row, policy, nano, lasts_s)
            if not await self._hold(row, lasts_s + _GRACE_S):
                return None
        row = msgspec.structs.replace(row, hold_nano=nano)
        self._held[row.id] = row, self._clock.monotonic() + lasts_s + _GRACE_S
        opened = backend.price is not None and not backend.price.reserved
        if opened:
            try:
                await self._ledger.open(row)
            except StorageUnavailable as unavailable:
                self._held.pop(row.id, None)
                for hold in _holds(row):
                    await self._shared.release(hold.id)
                if isinstance(unavailable, MaybeWritten):
                    await self._withdraw(row)
                raise
        return Expense(row, opened)

    async def _hold(self, row: LedgerRow, ttl_s: float) -> bool:
        """Whether there is room in every limit; else nothing is held."""
        held: list[Hold] = []
        for hold in _holds(row):
            answer = await self._shared.admit(hold.id, hold.claims, ttl_s)
            if isinstance(answer, Refused):
                _tell(row, answer)
                for earlier in held:
                    await self._shared.release(earlier.id)
                return False
            held.append(hold)
        return True

    async def _withdraw(self, row: LedgerRow) -> None:
        """Ends a row that may have been opened, for nothing is done after all."""
        now, error = self._clock.time(), "store_unavailable"
        ended = msgspec.structs.replace(
            row, outcome="error", ended_at=now, error=error, claims=(), at_backend=None, hold_nano=0
        )
        await self._settler.settle((ended,), (), opened=True)

    async def settle(
        self, expense: Expense, used: Usage, *, outcome: Outcome, error: str, nano: int
    ) -> None:
        """``used``: what was used; ``nano``: what that costs. Raises StorageUnavailable where no
        row can be made durable."""
        self._held.pop(expense.row.id, None)
        ended = msgspec.structs.replace(
            expense.row,
            outcome=outcome,
            ended_at=self._clock.time(),
            error=error,
            queue_us=round((used.queue_s or 0.0) * MICRO),
            cold_us=round((used.cold_s or 0.0) * MICRO),
            exec_us=round((used.exec_s or 0.0) * MICRO),
            gpu_us=round((used.gpu_s or used.exec_s or 0.0) * MICRO),
            cost_nano=nano,
            cost_basis="none" if not nano else "reported" if used.reported else "estimated",
            worker=used.worker or "",
            claims=(),
            at_backend=None,
        )
        row = expense.row
        beside = [Part(hold, (ended,)) for hold in held_beside(row)]
        await self._settler.settle((ended,), row.claims, opened=expense.opened, beside=beside)


def ping_hold(backend: LiveBackend) -> tuple[int, float]:
    """(nano-dollars, seconds) that few pings of the backend exceed."""
    expected = _ping(backend)
    return estimate(backend.price, expected).hold, expected.exec_high_s + expected.cold_s


def ping_estimate(backend: LiveBackend) -> Estimate:
    """What a ping will cost: probably, and at most."""
    return estimate(backend.price, _ping(backend))


def _ping(backend: LiveBackend) -> Expectation:
    run = backend.learned.run_time("")
    cold = backend.learned.cold
    return Expectation(
        exec_s=run.mean,
        exec_high_s=run.high,
        cold_s=0.0 if cold is None else cold.p95,
        input_tokens=0,
        input_high_tokens=0,
        output_tokens=0,
    )


def _holding(row: LedgerRow, policy: Policy, nano: int, lasts_s: float) -> LedgerRow:
    """With what is held for it, in its own account and at its backend."""
    now_at, us = row.started_at, round(lasts_s * MICRO)
    claims = _amounts(CallClaims(warm_pool_claims(policy, now_at), nano, us))
    there = _amounts(CallClaims(backend_claims(policy, row.backend, now_at), nano, us))
    hold = Hold(f"{row.id}@{row.backend}", there) if there else None
    return msgspec.structs.replace(row, claims=claims, at_backend=hold)


def _amounts(claims: CallClaims) -> tuple[Claim, ...]:
    """A ping is no request of anybody's: it counts in money and device time alone."""
    return tuple(claim for claim in claims if claim.unit in ("nano_usd", "gpu_us"))


def _holds(row: LedgerRow) -> list[Hold]:
    own = [Hold(row.id, tuple(row.claims))] if row.claims else []
    return [*own, *held_beside(row)]


def _tell(row: LedgerRow, refused: Refused) -> None:
    claim = refused.status.claim
    log.warning(
        "%s of %s: the limit of %s a %s of %s has no room for it",
        row.task, row.backend, claim.unit, claim.window, claim.scope,
    )  # fmt: skip


def _row(backend: LiveBackend, task: str, reason: str, policy: str, now_at: float) -> LedgerRow:
    return LedgerRow(
        id=f"{task}_{os.urandom(12).hex()}",
        kind="ping",
        started_at=now_at,
        key_id=ACCOUNT,
        user=ACCOUNT,
        model="",
        task=task,
        backend=backend.name,
        reason=reason,
        policy=policy,
        price=backend.spec.common.price or "",
    )
