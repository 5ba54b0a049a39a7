"""How a call came to its answer: what was decided, and which backends failed it. Kept beside its
row, so that it can be explained for as long as the row is there."""

from __future__ import annotations

import msgspec

MOST_KEPT = 16
"""Quotes, refusals and attempts of one call, each: a policy's backends may be many."""
_WORDS = 300
"""Characters of a failure's message that are kept."""


OWN_ROW = -1
"""In place of an attempt's number: what it cost stands in the row of the call itself."""


HEDGED = "hedged"
"""In place of a failure's name: the attempt has not failed, another one of its call was quicker."""


class SeenRecord(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """How a backend stood when a call was decided. Seconds."""

    calls: int
    """Sent there, or before the call in its line."""
    slots: int | None
    """None: as many as it likes."""
    warm_idle: int
    starting_for_s: float | None
    """Since when the oldest start is waited for."""
    ready_in_s: float
    run_s: float
    run_deviation_s: float
    cold_p50_s: float | None
    """None, as the next, of a backend that is always warm."""
    cold_p95_s: float | None
    tail_s: float
    load_s: float
    round_trip_s: float = 0.0
    region: str | None = None
    """None where the policy names none, and in rows of earlier versions."""


class QuoteRecord(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a backend was expected to be like when the call was decided."""

    backend: str
    delay_s: float
    cold: bool
    load_s: float
    reserved: bool
    marginal_nano: int
    charge_nano: int
    hold_nano: int
    seen: SeenRecord | None = None
    """None in rows of earlier versions."""


class AttemptRecord(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A backend that was asked and failed, whether it was paid for or not."""

    backend: str
    failure: str
    """The class of the failure, by its slug, or ``HEDGED``."""
    message: str
    """What the caller would be told of it."""
    after_s: float
    """Seconds from the call's arrival until the backend was asked."""
    seconds: float
    """From then until it failed."""
    entry: int = 0
    """The number of the row that has what it cost; ``OWN_ROW``: the call's own; 0: it was free."""
    hedge: bool = False
    """It was asked beside another backend, which was slow."""


class PriceRecord(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """By what a call was charged. Prices of the policy come and go: this stays beside the row."""

    fingerprint: str
    """Twelve hexadecimal digits, of all that decides over a charge."""
    as_of: str
    """The day of its reading; empty where none is known."""
    bills: str
    """Which seconds of a worker are charged, with commas between."""
    figures: dict[str, int] = {}
    """The name of a rate -> nano-dollars; ``minimum`` and ``round_up`` -> microseconds."""


class CallHistory(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """All of one call. Bounded: see ``history_of``."""

    slo_s: float = 0.0
    quotes: tuple[QuoteRecord, ...] = ()
    """In the order in which the backends were to be asked."""
    refused: tuple[tuple[str, str], ...] = ()
    """Backends that could not be asked, each with why."""
    attempts: tuple[AttemptRecord, ...] = ()
    price: PriceRecord | None = None
    """None: nothing is charged there, or the row is of an earlier version."""
    amounts: dict[str, int] = {}
    """What was charged for and has no column: parts of the tokens, by their names, ``images``,
    ``audio_ms``, and ``stated`` where the figure is the platform's own."""
    not_asked: tuple[tuple[str, str], ...] = ()
    """Backends that could have been asked, and were not, each with why."""
    region: str = ""
    """Of the caller, where a trusted proxy has said it."""


def words(message: str) -> str:
    """As much of a failure's message as is kept."""
    return message if len(message) <= _WORDS else f"{message[: _WORDS - 1]}\N{HORIZONTAL ELLIPSIS}"
