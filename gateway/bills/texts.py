"""A comparison as JSON, and as a paragraph for a terminal. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from adapters.types import Bill
from gateway.bills.causes import MEANINGS, Cause
from gateway.bills.comparison import Comparison, Day
from gateway.money.text import iso, usd

_KINDS = {"call": "calls", "attempt": "attempts", "ping": "pings"}
_UNTIMED = (
    "idle tails, starts and fees, which this bill does not tell apart; another price, calls past "
    "the gateway, or a bill that is late"
)


def as_json(found: Comparison) -> dict[str, Any]:
    """Amounts are exact decimals of US dollars, as text."""
    return {
        "backend": found.backend,
        "kind": found.kind,
        "from": iso(found.period.start, "minutes"),
        "to": iso(found.period.end, "minutes"),
        "priced_by": "policy" if found.priced_here else "platform",
        "bill_usd": usd(found.billed),
        "difference": _difference(found),
        "causes": [_cause(cause) for cause in found.causes],
        "days": [_day(day) for day in found.days],
    }


def _difference(found: Comparison) -> dict[str, Any]:
    percent = _percent(found)
    return {
        "usd": usd(found.difference),
        "corrected_usd": usd(found.corrected),
        "open_usd": usd(found.open),
        "percent_of_bill": None if percent is None else round(percent, 2),
    }


def _day(day: Day) -> dict[str, Any]:
    bill, totals = day.bill, day.books.totals
    return {
        "from": iso(day.period.start, "minutes"),
        "to": iso(day.period.end, "minutes"),
        "bill": {
            "usd": usd(bill.cost_nano),
            "seconds": bill.seconds,
            "calls": bill.calls,
            "lines": len(bill.lines),
            "parts": {name: usd(nano) for name, nano in bill.parts.items()},
        },
        "ledger": {
            "usd": usd(totals.cost_nano),
            "seconds": totals.seconds_of(bill),
            "calls": totals.calls,
            "by_kind": {name: usd(nano) for name, nano in totals.by_kind.items()},
        },
        "difference_usd": usd(day.difference),
        "corrected_usd": usd(day.corrected),
        "causes": [_cause(cause) for cause in day.causes],
    }


def _cause(cause: Cause) -> dict[str, Any]:
    told = {"cause": cause.name, "usd": usd(cause.nano), "means": MEANINGS[cause.name]}
    return told if cause.seconds is None else {**told, "seconds": cause.seconds}


def as_text(found: Comparison) -> str:
    """A line for each day, then the sums, amounts below one another."""
    return "\n".join(_lines(found))


def _lines(found: Comparison) -> Iterator[str]:
    yield f"{found.backend} ({found.kind}), {found.period}"
    for day in found.days:
        if len(found.days) > 1:
            sums = f"ledger {_dollars(day.books.totals.cost_nano)}"
            told = f"{sums}, difference {_dollars(day.difference)}"
            yield _line(iso(day.period.start, "minutes")[:10], day.bill.cost_nano, told)
    yield from _sums(found)
    for cause in found.causes:
        yield _line("of it", cause.nano, _words(found, cause))
    if found.corrected:
        yield _line("booked", found.corrected, "of the difference, as corrections")


def _sums(found: Comparison) -> Iterator[str]:
    bills = [day.bill for day in found.days]
    priced = ", by the policy's price" if found.priced_here else ""
    yield _line("bill", found.billed, f"{_seconds(bills)}{priced}{_parts(_all_parts(bills))}")
    totals = [day.books.totals for day in found.days]
    kinds: dict[str, int] = {}
    for name, nano in (part for one in totals for part in one.by_kind.items()):
        kinds[_KINDS.get(name, name)] = kinds.get(_KINDS.get(name, name), 0) + nano
    ran = sum(day.books.totals.seconds_of(day.bill) for day in found.days)
    told = f"{sum(one.calls for one in totals)} calls, {ran:,.1f} s of device{_parts(kinds)}"
    yield _line("ledger", sum(one.cost_nano for one in totals), told)
    percent = _percent(found)
    share = "" if percent is None else f"{percent:.1f} % of the bill"
    yield _line("difference", found.difference, share)


def _words(found: Comparison, cause: Cause) -> str:
    untold = all(day.bill.seconds is None for day in found.days)
    meaning = _UNTIMED if cause.name == "rest" and untold else MEANINGS[cause.name]
    return meaning if cause.seconds is None else f"{cause.seconds:,.1f} s: {meaning}"


def _all_parts(bills: list[Bill]) -> dict[str, int]:
    sums: dict[str, int] = {}
    for name, nano in (part for bill in bills for part in bill.parts.items()):
        sums[name] = sums.get(name, 0) + nano
    return sums


def _percent(found: Comparison) -> float | None:
    return 100 * found.difference / found.billed if found.billed else None


def _line(name: str, nano: int, text: str) -> str:
    return f"  {name:<10} {_dollars(nano):>15}  {text}".rstrip()


def _dollars(nano: int) -> str:
    return f"-${usd(-nano)}" if nano < 0 else f"${usd(nano)}"


def _seconds(bills: list[Bill]) -> str:
    stated = [bill.seconds for bill in bills if bill.seconds is not None]
    what = "runs" if any(bill.of_runs for bill in bills) else "workers"
    return f"{sum(stated):,.1f} s of {what}" if stated else "no seconds told"


def _parts(parts: Mapping[str, int]) -> str:
    listed = ", ".join(f"{name} {_dollars(nano)}" for name, nano in parts.items())
    return f" ({listed})" if listed else ""
