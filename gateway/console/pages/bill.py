"""Bill: what platforms bill beside what the ledger has, by backend and day, and what makes the
difference. The bills are those that were told last; the figures are ``usage --reconcile``'s."""

from __future__ import annotations

import asyncio
import datetime
import functools
import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from adapters.base import Billed
from adapters.errors import BackendError
from gateway.bills.bill_files import BillFileError, bill_from_csv
from gateway.bills.causes import MEANINGS, CauseName
from gateway.bills.comparison import CORRECTION, Comparison, Day
from gateway.bills.kept_bills import KEPT_DAYS, PLATFORM, KeptBill
from gateway.bills.periods import DAY, Period, period_of
from gateway.bills.reconciler import asked
from gateway.console.drawing.figures import dollars
from gateway.console.drawing.plots import Band, Plot, PlotColumn, PlotText, stacked
from gateway.console.drawing.words import CAUSES
from gateway.console.visits import sheets
from gateway.console.visits.acts import recorded
from gateway.console.visits.billed import (
    Bookable,
    bill_period,
    billed_backends,
    bookable,
    booked,
    kept_bills,
)
from gateway.console.visits.spans import TimeSlice, bounds, span_of
from gateway.console.visits.standings import reserved_names
from gateway.console.visits.visit import Given, HtmlPage, Onward, Sheet, Visit, link
from gateway.money.text import iso, usd
from gateway.policy.sections.reconcile import Reconcile
from gateway.types import NANO, ApiError

_ASKED_DAYS = 31
_ASK_WITHIN_S = 40.0
_LINES = 300
_MOST_TEXT = 4_000_000
_MUCH_NANO = 1_000 * NANO
"""From such a bill on, nobody looks at parts of a cent."""
_DONE = {
    "asked": "The platforms were asked just now, and what they told stands below.",
    "kept": "The bill stands beside the ledger from now on.",
    "booked": "It is booked, as rows of its own: the ledger's totals have it from now on.",
}


class BillCause(msgspec.Struct, frozen=True):
    """One part of a difference, in words, and the rows behind it."""

    name: CauseName
    words: str
    meaning: str
    nano: int
    seconds: float | None
    href: str


class OpenCause(msgspec.Struct, frozen=True):
    """What may be booked of a cause."""

    name: CauseName
    words: str
    meaning: str
    nano: int


class BilledDay(msgspec.Struct, frozen=True):
    """A line of the table of days."""

    backend: str
    day: Day
    parts: dict[CauseName, int]
    bill_href: str
    ledger_href: str
    booked_href: str


async def show(visit: Visit) -> HtmlPage:
    """All backends, or the one that the path names."""
    return await _page(visit)


async def _page(
    visit: Visit, failures: dict[str, str] | None = None, problem: ApiError | None = None
) -> HtmlPage:
    backends = await billed_backends(visit)
    if visit.rest:
        known = {one.name: one for one in backends}
        if visit.rest not in known:
            words = f"The policy in force has no backend of this name. It has: {', '.join(known)}."
            raise ApiError(404, "backend_not_found", words, param="backend")
        backends = [known[visit.rest]]
    found = [one.found for one in backends if one.found is not None]
    rule = visit.gateway.active.policy.reconcile
    days = days_of(found)
    span = span_of(visit, "30d")
    period = bill_period(visit)
    may_book = await bookable(visit, visit.rest, period) if visit.rest else None
    values: dict[str, Any] = {
        "visit": visit,
        "span": span,
        "spanned": {"range": span.name, **visit.span_ends},
        "backends": backends,
        "found": found,
        "days": days,
        "causes": causes_of(found, visit),
        "lines": _lines(found) if visit.rest else [],
        "most_lines": _LINES,
        "plot": _plot(found, period, visit),
        "bookable": may_book,
        "open_causes": _open_causes(may_book),
        "ends": bounds(_slice(period)),
        "places": 2 if max((one.billed for one in found), default=0) >= _MUCH_NANO else 4,
        "rule": rule,
        "threshold": (rule or Reconcile()).threshold,
        "failures": failures or {},
        "problem": problem,
        "draft": visit.form,
        "asked_days": _ASKED_DAYS,
        "policy_backends": list(visit.gateway.active.policy.backends),
        "can_ask": [one.name for one in backends if one.is_asked],
        "done": _DONE.get(visit.params.get("done", "")),
    }
    return HtmlPage("bill.html", values, problem.status if problem else 200)


async def sheet(visit: Visit) -> Sheet:
    """Days by backend, with their causes; of ``view=lines`` the lines of the bills."""
    wanted = visit.params.get("backend")
    told = [one for one in await billed_backends(visit) if wanted in (None, one.name)]
    found = [one.found for one in told if one.found is not None]
    if visit.params.get("view") == "lines":
        return _sheet_of_lines(found)
    head = ("backend", "from", "to", "billed_usd", "ledger_usd", "difference_usd", "booked_usd",
            *(f"{name}_usd" for name in MEANINGS))  # fmt: skip
    rows = []
    for one in days_of(found):
        sums = (one.day.bill.cost_nano, one.day.books.totals.cost_nano, one.day.difference,
                one.day.corrected, *(one.parts.get(name, 0) for name in MEANINGS))  # fmt: skip
        ends = bounds(_slice(one.day.period))
        cells = [usd(nano, padded=True) for nano in sums]
        rows.append((one.backend, ends["from"], ends["to"], *cells))
    return sheets.sheet_of("bill", head, rows)


def _sheet_of_lines(found: Sequence[Comparison]) -> Sheet:
    head = ("backend", "start", "end", "label", "usd", "seconds", "calls")
    rows = (
        (one.backend, iso(line.start, "seconds"), iso(line.end, "seconds"), line.label,
         usd(line.cost_nano or 0, padded=True), line.seconds, line.calls)
        for one in found
        for day in one.days
        for line in day.bill.lines
    )  # fmt: skip
    return sheets.sheet_of("bill-lines", head, rows)


# --- the tables ----------------------------------------------------------------------------------


def days_of(found: Iterable[Comparison]) -> list[BilledDay]:
    """The newest first."""
    lines = [_line(one.backend, day) for one in found for day in one.days]
    return sorted(lines, key=lambda line: (-line.day.period.start, line.backend))


def _line(backend: str, day: Day) -> BilledDay:
    ends = bounds(_slice(day.period))
    return BilledDay(
        backend,
        day,
        {cause.name: cause.nano for cause in day.causes},
        link("bill", ends, backend) + "#lines",
        link("calls", {"backend": backend, "kind": "all", **ends}),
        link("calls", {"backend": backend, "kind": CORRECTION, **ends}),
    )


def causes_of(found: Sequence[Comparison], visit: Visit) -> list[BillCause]:
    """Of all backends together, the largest first. What the bill has alone leads to its lines,
    what calls have to them."""
    nano: dict[CauseName, int] = {}
    seconds: dict[CauseName, float] = {}
    for cause in itertools.chain.from_iterable(one.causes for one in found):
        nano[cause.name] = nano.get(cause.name, 0) + cause.nano
        if cause.seconds is not None:
            seconds[cause.name] = seconds.get(cause.name, 0.0) + cause.seconds
    return [
        BillCause(
            name, CAUSES[name], MEANINGS[name], nano[name], seconds.get(name), _href(name, visit)
        )
        for name in sorted(nano, key=lambda name: -abs(nano[name]))
    ]


def _open_causes(may_book: Bookable | None) -> list[OpenCause]:
    nano = {} if may_book is None else may_book.nano
    return [OpenCause(name, CAUSES[name], MEANINGS[name], amount) for name, amount in nano.items()]


def _href(name: CauseName, visit: Visit) -> str:
    if name not in ("starts", "rest"):
        return visit.here() + ("#lines" if visit.rest else "#days")
    ends = bounds(_slice(bill_period(visit)))
    return link("calls", {"backend": visit.rest, "kind": "all", **ends})


def _lines(found: Sequence[Comparison]) -> list[Any]:
    lines = [line for one in found for day in one.days for line in day.bill.lines]
    return sorted(lines, key=lambda line: (-line.start, -(line.cost_nano or 0)))


def _slice(period: Period) -> TimeSlice:
    return TimeSlice("", period.start, period.end)


# --- the plot ------------------------------------------------------------------------------------

_CALLS = ("call", "attempt")


def _plot(found: Sequence[Comparison], period: Period, visit: Visit) -> Plot:
    """What the ledger has of each day that a bill is known of, and the bill as a line."""
    days = [day for one in found for day in one.days]
    last = max((day.period.end for day in days), default=period.end)
    count = max(1, round((min(last, period.end) - period.start) / DAY))

    def by_day(nano: Iterable[tuple[Day, int]]) -> list[int]:
        sums = [0] * count
        for day, amount in nano:
            sums[min(count - 1, max(0, int((day.period.start - period.start) // DAY)))] += amount
        return sums

    ours = reserved_names(visit)
    reserved = [day for one in found if one.backend in ours for day in one.days]
    overflow = [day for one in found if one.backend not in ours for day in one.days]
    bands = [
        Band("reserved", "reserved", by_day((day, _of(day, _CALLS)) for day in reserved)),
        Band("overflow", "overflow", by_day((day, _of(day, _CALLS)) for day in overflow)),
        Band("kept warm", "warm", by_day((day, _of(day, ("ping",))) for day in days)),
        Band("idle", "idle", by_day((day, _of(day, ("idle",))) for day in days)),
    ]
    billed = by_day((day, day.bill.cost_nano) for day in days)
    starts = [period.start + at * DAY for at in range(count)]
    columns = [
        PlotColumn(
            f"{_named(at)}: billed {dollars(nano)}",
            link("bill", bounds(TimeSlice("", at, at + DAY)), visit.rest),
        )
        for at, nano in zip(starts, billed, strict=True)
    ]
    step = max(1, round(count / 6))
    times = [
        PlotText(_named(at)[4:], number / count * 100)
        for number, at in enumerate(starts)
        if number % step == 0
    ]
    return stacked(
        bands,
        columns,
        times,
        told=lambda value: "$0" if not value else f"${value / NANO:,.4g}",
        summary=f"Dollars by day: billed {dollars(sum(billed))}, as a line over the ledger's",
        lines=[Band("billed", "ink", billed)],
    )


def _of(day: Day, kinds: Sequence[str]) -> int:
    return sum(day.books.totals.by_kind.get(kind, 0) for kind in kinds)


def _named(at: float) -> str:
    return datetime.datetime.fromtimestamp(at, datetime.UTC).strftime("%a %d %b")


# --- acts ----------------------------------------------------------------------------------------


async def ask(visit: Visit) -> Given:
    """Asks all platforms that state bills for the days that have ended."""
    period = period_of(visit.now_at - _ASKED_DAYS * DAY, visit.now_at, visit.now_at, days=True)
    told = {
        name: backend.adapter
        for name, backend in visit.gateway.active.backends.items()
        if isinstance(backend.adapter, Billed)
    }
    answers = await asyncio.gather(
        *(_asked(visit, name, adapter, period) for name, adapter in told.items())
    )
    failures = {name: why for name, why in zip(told, answers, strict=True) if why}
    if failures or not told:
        return await _page(visit, failures)
    return Onward(link("bill", {}) + "?done=asked")


async def _asked(visit: Visit, name: str, adapter: Billed, period: Period) -> str:
    """Why there is no bill; empty where it is kept."""
    try:
        async with asyncio.timeout(_ASK_WITHIN_S):
            bill = await asked(adapter, period)
    except BackendError as error:
        return error.message
    except TimeoutError:
        return f"the platform did not answer within {_ASK_WITHIN_S:g} s"
    kept = KeptBill(bill=bill, source=PLATFORM, at=visit.now_at)
    await asyncio.to_thread(kept_bills(visit).put, name, kept)
    return ""


async def put(visit: Visit) -> Given:
    """Takes a bill as CSV; one with an error changes nothing, and is shown again."""
    name = _named_backend(visit)
    try:
        kept = await asyncio.to_thread(_from_form, visit)
    except BillFileError as error:
        problem = ApiError(400, "invalid_parameter", str(error), param="text")
        return await _page(visit, problem=problem)
    await asyncio.to_thread(kept_bills(visit).put, name, kept)
    ends = bounds(TimeSlice("", kept.bill.start, kept.bill.end))
    return Onward(link("bill", ends, name) + "&done=kept")


def _from_form(visit: Visit) -> KeptBill:
    text, name = visit.form.get("text", ""), visit.form.get("name", "").strip() or "the bill"
    if len(text) > _MOST_TEXT:
        raise BillFileError(f"{name} is longer than {_MOST_TEXT:,} characters: sum it by day")
    bill = bill_from_csv(text, name, of_runs=bool(visit.form.get("runs")))
    if bill.end - bill.start > KEPT_DAYS * DAY:
        raise BillFileError(f"{name} covers more than {KEPT_DAYS} days: put it in by parts")
    return KeptBill(bill=bill, source=name, at=visit.now_at)


def _named_backend(visit: Visit) -> str:
    name = visit.form.get("backend", "")
    if name not in visit.gateway.active.policy.backends:
        words = "Name a backend of the policy in force."
        raise ApiError(400, "invalid_parameter", words, param="backend")
    return name


async def book(visit: Visit) -> Given:
    """Books the causes that the form names, where all that is open is still what it has shown."""
    name = _named_backend(visit)
    ends = {end: visit.form.get(end) for end in ("from", "to")}
    params = {end: at for end, at in ends.items() if at}
    seen = msgspec.structs.replace(visit, page="bill", rest=name, params=params)
    period = bill_period(seen)
    what = await bookable(seen, name, period)
    try:
        causes = _agreed(visit, what)
    except ApiError as error:
        return await _page(seen, problem=error)
    assert what is not None
    run = functools.partial(booked, visit, what, causes)
    sums = usd(sum(what.nano[cause] for cause in causes))
    await recorded(
        visit, "bill.book", name, run, days=str(period), causes=", ".join(causes), usd=sums
    )
    return Onward(link("bill", bounds(_slice(period)), name) + "&done=booked")


def _agreed(visit: Visit, what: Bookable | None) -> list[CauseName]:
    """What is to be booked. Raises ApiError 400 for nothing, and 409 where another page booked, or
    calls or bills came, since the form was shown."""
    if what is None or visit.form.get("stamp") != what.stamp:
        words = (
            "The figures have changed since you saw them: nothing is booked. Look at them again."
        )
        raise ApiError(409, "bill_changed", words)
    causes = [name for name in what.nano if visit.form.get(f"cause-{name}")]
    if not causes:
        raise ApiError(400, "invalid_parameter", "Choose what to book: at least one cause.")
    return causes
