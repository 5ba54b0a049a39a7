"""``spillgate usage --reconcile``: asks platforms for their bills, and the ledger for its rows."""

from __future__ import annotations

from pathlib import Path

import msgspec

from adapters.base import Backend, Billed
from adapters.errors import BackendError
from adapters.types import Bill
from gateway.app import backend_maker
from gateway.bills.bill_files import BillFileError, bill_from_csv
from gateway.bills.booking import book
from gateway.bills.comparison import Comparison
from gateway.bills.periods import Period
from gateway.bills.reconciler import Unpriced, asked, compare, within
from gateway.cli.shared import fail, unset_secret
from gateway.clock import Clock
from gateway.opening.stores import open_ledger
from gateway.policy.model import BackendSpec, Policy
from gateway.storage.base import Ledger

EVERY = "*"
"""In the place of a backend's name: all whose platforms state bills."""


class Unbilled(msgspec.Struct, frozen=True):
    """A backend whose bill could not be had, and why."""

    backend: str
    why: str


class Reconciliation(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be reconciled."""

    name: str
    period: Period | None
    """None: what the file covers."""
    file: Path | None = None
    """A bill as CSV, of a backend whose platform cannot be asked."""
    of_runs: bool = False
    """The file's seconds are of runs alone."""
    book: bool = False
    """Whether differences are booked."""


async def reconcile(
    policy: Policy, wanted: Reconciliation, clock: Clock
) -> list[Comparison | Unbilled]:
    """One of each backend that was asked for. Ends the program where none states a bill."""
    bill = None if wanted.file is None else _from_file(policy, wanted, wanted.file)
    backends = {} if bill else _billed(policy, wanted.name, clock)
    ledger = open_ledger(policy)
    try:
        if bill is not None:
            spec = policy.backends[wanted.name]
            return [await _compared(policy, spec, bill, wanted, ledger, clock)]
        return [
            await _one(policy, policy.backends[name], backend, wanted, ledger, clock)
            for name, backend in backends.items()
        ]
    finally:
        await ledger.aclose()


def _from_file(policy: Policy, wanted: Reconciliation, path: Path) -> Bill:
    if wanted.name == EVERY:
        fail("--bill is one backend's: name it, as in --reconcile BACKEND --bill FILE")
    if wanted.name not in policy.backends:
        fail(f"no backend {wanted.name!r}; there are {', '.join(policy.backends)}")
    try:
        text = path.read_text(encoding="utf-8")
        return bill_from_csv(text, path.name, of_runs=wanted.of_runs)
    except UnicodeDecodeError:
        fail(f"{path} is no UTF-8 text: save it as CSV UTF-8")
    except OSError as error:
        fail(f"{path} cannot be read: {error.strerror}")
    except BillFileError as error:
        fail(str(error))


def _billed(policy: Policy, name: str, clock: Clock) -> dict[str, Backend]:
    made = {spec.name: backend_maker(clock)(spec) for spec in policy.backends.values()}
    billed = [one for one, backend in made.items() if isinstance(backend, Billed)]
    able = f"bills are stated for {', '.join(billed)}" if billed else "no backend's platform does"
    if name not in (EVERY, *made):
        fail(f"no backend {name!r}; {able}")
    if name != EVERY and name not in billed:
        fail(
            f"{name}: kind {policy.backends[name].kind} states no bill that we can read; {able}. "
            "Give one as CSV with --bill FILE"
        )
    if not billed:
        fail("no backend's platform states a bill that we can read; give one with --bill FILE")
    return {one: made[one] for one in billed if name in (EVERY, one)}


async def _one(
    policy: Policy,
    spec: BackendSpec,
    backend: Backend,
    wanted: Reconciliation,
    ledger: Ledger,
    clock: Clock,
) -> Comparison | Unbilled:
    if (unset := unset_secret(spec)) is not None:
        return Unbilled(spec.name, str(unset))
    period = wanted.period
    assert isinstance(backend, Billed)
    assert period is not None
    await backend.start()
    try:
        bill = await asked(backend, period)
    except BackendError as error:
        return Unbilled(spec.name, error.message)
    finally:
        await backend.aclose()
    return await _compared(policy, spec, bill, wanted, ledger, clock)


async def _compared(
    policy: Policy,
    spec: BackendSpec,
    bill: Bill,
    wanted: Reconciliation,
    ledger: Ledger,
    clock: Clock,
) -> Comparison | Unbilled:
    period = wanted.period or Period(bill.start, bill.end)
    bill = within(bill, period)
    try:
        found = await compare(policy, spec, bill, period, ledger)
        if wanted.book:
            await book(found, ledger, now_at=clock.time(), version=policy.version)
            found = await compare(policy, spec, bill, period, ledger)
    except Unpriced as error:
        return Unbilled(spec.name, str(error))
    return found
