"""The time that a page looks at: its parameter in the address, its buckets, and the one before."""

from __future__ import annotations

import datetime

import msgspec

from gateway.console.drawing.figures import duration, midnight
from gateway.console.drawing.plots import PlotText
from gateway.console.visits.visit import Visit
from gateway.money.text import iso
from gateway.storage.calendar import instant_of
from gateway.types import ApiError

HOUR_S = 3_600
DAY_S = 86_400
NAMES = {
    "1h": "hour",
    "24h": "24 hours",
    "today": "today",
    "yesterday": "yesterday",
    "7d": "7 days",
    "30d": "30 days",
    "month": "this month",
    "90d": "90 days",
}
EACH = ("hour", "day", "month")
_LENGTHS = (HOUR_S, DAY_S)
_LONG = {"1h": HOUR_S, "24h": DAY_S, "7d": 7 * DAY_S, "30d": 30 * DAY_S, "90d": 90 * DAY_S}
_MOST_BUCKETS = 400
_LAST_AT = 7_258_118_400.0
"""2200-01-01: beyond it, a calendar may end within a span."""


class TimeSpan(msgspec.Struct, frozen=True):
    """From ``since`` until ``until``, in seconds since the epoch; ``name`` is one of ``NAMES``, or
    empty of a time that was given by its ends."""

    name: str
    since: float
    until: float
    zone: str
    each: str = ""
    """What it should be cut into, of ``EACH``; empty: whatever suits its length."""

    @property
    def seconds(self) -> float:
        """How long it is."""
        return self.until - self.since

    @property
    def words(self) -> str:
        """How long it is, in words."""
        return NAMES[self.name] if self.name in _LONG else duration(self.seconds)

    @property
    def before(self) -> TimeSpan:
        """As long a time, just before."""
        return TimeSpan("", max(0.0, self.since - self.seconds), self.since, self.zone, self.each)

    @property
    def bucket(self) -> str:
        """What it is cut into, of ``EACH``; never into more pieces than can be drawn."""
        suits = 0 if self.seconds <= 8 * DAY_S else 1 if self.seconds <= 366 * DAY_S else 2
        wanted = EACH.index(self.each) if self.each in EACH else suits
        fits = sum(self.seconds > _MOST_BUCKETS * length for length in _LENGTHS)
        return EACH[max(wanted, fits)]


def span_of(visit: Visit, usual: str, *, whole_hours: bool = True) -> TimeSpan:
    """What the address asks for: ``range`` of ``NAMES``, or ``from`` and ``to``, and ``each``.
    Those that end now begin with a whole hour. Raises ApiError 400."""
    each = visit.params.get("each", "")
    if each and each not in EACH:
        raise _bad("each", f"each is one of {', '.join(EACH)}")
    since, until = visit.params.get("from"), visit.params.get("to")
    if since or until:
        zone = visit.tzinfo
        ends = _instant("to", until, zone) if until else visit.now_at
        begins = _instant("from", since, zone) if since else max(0.0, ends - 7 * DAY_S)
        if begins >= ends:
            raise _bad("from", "from must be before to")
        return TimeSpan("", begins, ends, visit.zone, each)
    name = visit.params.get("range", usual)
    if name not in NAMES:
        raise _bad("range", f"range is one of {', '.join(NAMES)}")
    begins, ends = _named(name, visit)
    if whole_hours and name in _LONG and name != "1h":
        begins = (begins // HOUR_S + 1) * HOUR_S
    return TimeSpan(name, begins, ends, visit.zone, each)


def _named(name: str, visit: Visit) -> tuple[float, float]:
    now_at, zone = visit.now_at, visit.tzinfo
    if name in _LONG:
        return now_at - _LONG[name], now_at
    if name == "yesterday":
        return midnight(now_at, zone, 1), midnight(now_at, zone)
    today = midnight(now_at, zone)
    if name == "today":
        return today, now_at
    first = datetime.datetime.fromtimestamp(now_at, zone).day - 1
    return midnight(now_at, zone, first), now_at


def _instant(name: str, text: str, zone: datetime.tzinfo) -> float:
    try:
        found = instant_of(text, zone)
    except ValueError:
        raise _bad(name, f"{name} is a date such as 2026-01-31, or a time") from None
    if found > _LAST_AT:
        raise _bad(name, f"{name} is a date before the year 2200")
    return found


def _bad(name: str, words: str) -> ApiError:
    return ApiError(400, "invalid_parameter", words, param=name)


# --- buckets -------------------------------------------------------------------------------------


class TimeSlice(msgspec.Struct, frozen=True):
    """A bucket: its label as reports give it, and its ends."""

    label: str
    since: float
    until: float


def pieces_of(span: TimeSpan, zone: datetime.tzinfo) -> list[TimeSlice]:
    """The hours, days or months of a span in the reader's zone, oldest first."""
    pieces: list[TimeSlice] = []
    at = span.since
    while at < span.until:
        local = datetime.datetime.fromtimestamp(at, zone)
        if span.bucket == "hour":
            begin = at // HOUR_S * HOUR_S
            label, after = _hour(begin, zone), begin + HOUR_S
        elif span.bucket == "day":
            label = local.date().isoformat()
            after = midnight(at, zone, -1)
        else:
            label, after = f"{local:%Y-%m}", _next_month(local, zone)
        pieces.append(TimeSlice(label, max(at, span.since), min(after, span.until)))
        at = after
    return pieces[-_MOST_BUCKETS:]


def _next_month(local: datetime.datetime, zone: datetime.tzinfo) -> float:
    first = local.date().replace(day=1) + datetime.timedelta(32)
    return datetime.datetime.combine(first.replace(day=1), datetime.time(), zone).timestamp()


def _hour(begin: float, zone: datetime.tzinfo) -> str:
    local = datetime.datetime.fromtimestamp(begin, zone)
    return local.isoformat(timespec="minutes").replace("+00:00", "Z")


def times_of(pieces: list[TimeSlice], zone: datetime.tzinfo) -> list[PlotText]:
    """What stands below a plot: some six instants, in percents of its width."""
    step = max(1, round(len(pieces) / 6))
    form = _form(pieces)
    marks = []
    for at in range(0, len(pieces), step):
        local = datetime.datetime.fromtimestamp(pieces[at].since, zone)
        marks.append(PlotText(local.strftime(form), at / len(pieces) * 100))
    return marks


def _form(pieces: list[TimeSlice]) -> str:
    label = pieces[0].label if pieces else ""
    if len(label) == len("2026-01"):
        return "%b %Y"
    if len(label) == len("2026-01-31"):
        return "%d %b"
    return "%a %H:%M" if len(pieces) > 30 else "%H:%M"


def bounds(piece: TimeSlice) -> dict[str, str | None]:
    """Of an address."""
    return {
        "from": iso(piece.since, "seconds"),
        "to": iso(piece.until, "seconds"),
        "range": None,
    }
