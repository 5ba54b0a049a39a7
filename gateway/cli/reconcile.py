"""``spillgate usage --reconcile``: asks platforms for their bills, and the ledger for its rows."""

from __future__ import annotations

import msgspec

from adapters.base import Backend, Billed
from adapters.errors import BackendError
from gateway.app import backend_maker, open_ledger
from gateway.cli.shared import fail, unset_secret
from gateway.clock import Clock
from gateway.money.reconciliation import Comparison, Period, totals_of
from gateway.policy.model import BackendSpec, Policy
from gateway.storage.base import Ledger
from gateway.storage.queries import UsageQuery

EVERY = "*"
"""In the place of a backend's name: all whose platforms state bills."""


class Unbilled(msgspec.Struct, frozen=True):
    """A backend whose bill could not be had, and why."""

    backend: str
    why: str


async def reconcile(
    policy: Policy, name: str, period: Period, clock: Clock
) -> list[Comparison | Unbilled]:
    """One of each backend that was asked for. Ends the program where none states a bill."""
    backends = _wanted(policy, name, clock)
    ledger = open_ledger(policy)
    try:
        return [await _one(policy, spec, backend, period, ledger) for spec, backend in backends]
    finally:
        await ledger.aclose()


def _wanted(policy: Policy, name: str, clock: Clock) -> list[tuple[BackendSpec, Backend]]:
    made = {spec.name: backend_maker(clock)(spec) for spec in policy.backends.values()}
    billed = [one for one, backend in made.items() if isinstance(backend, Billed)]
    able = f"bills are stated for {', '.join(billed)}" if billed else "no backend's platform does"
    if name not in (EVERY, *made):
        fail(f"no backend {name!r}; {able}")
    if name != EVERY and name not in billed:
        fail(f"{name}: kind {policy.backends[name].kind} states no bill that we can read; {able}")
    if not billed:
        fail("no backend's platform states a bill that we can read")
    return [(policy.backends[one], made[one]) for one in billed if name in (EVERY, one)]


async def _one(
    policy: Policy, spec: BackendSpec, backend: Backend, period: Period, ledger: Ledger
) -> Comparison | Unbilled:
    if unset := unset_secret(spec):
        return Unbilled(spec.name, unset)
    assert isinstance(backend, Billed)
    await backend.start()
    try:
        bill = await backend.bill(period.start, period.end)
    except BackendError as error:
        return Unbilled(spec.name, error.message)
    finally:
        await backend.aclose()
    lines = tuple(
        line for line in bill.lines if line.start < period.end and line.end > period.start
    )
    bill = msgspec.structs.replace(bill, lines=lines)
    covered = period.around(bill)
    query = UsageQuery(
        since=covered.start,
        until=covered.end,
        group_by=("kind",),
        where={"backend": spec.name},
    )
    return Comparison(
        backend=spec.name,
        kind=spec.kind,
        period=covered,
        bill=bill,
        totals=totals_of((await ledger.usage(query)).rows),
        price=policy.prices[spec.common.price].at(covered.start) if spec.common.price else None,
    )
