"""What is kept of a call's way: how far its answer has come, the attempts that failed, and the
record beside its row."""

from __future__ import annotations

from math import inf

import msgspec

from adapters.errors import Ran
from adapters.types import Usage
from gateway.routing.repeating import Asked
from gateway.routing.router import Candidate, Decision, Quote
from gateway.storage.history import (
    HEDGED,
    MOST_KEPT,
    AttemptRecord,
    CallHistory,
    PriceRecord,
    QuoteRecord,
    SeenRecord,
    words,
)
from gateway.types import MICRO

NOTHING = Usage()


class StreamProgress(msgspec.Struct):
    """How far a stream has come; written by whoever passes it on."""

    usage: Usage = NOTHING
    """What the backend said last."""
    events: int = 0
    """Tokens of answer passed to the caller, about: what is charged where no usage is reported."""
    told_at: int = 0
    """What ``events`` were when the backend said ``usage``."""
    covered: float = inf
    """Of these, how many what is held covers, or would cover, were the call limited; no bound where
    none are paid."""
    begun: bool = False
    """Its first token is here."""
    ended_at: float = inf
    """When the backend was done with a call that goes on, in monotonic seconds: nothing more is
    used."""
    sent_at: float = 0.0
    """When a job was sent, in monotonic seconds; no instant while that is still written down."""

    @property
    def seen(self) -> Usage:
        """What the backend said last, with the output that has come since: what it says at the
        start of a stream is no account of the rest."""
        said, since = self.usage, self.events - self.told_at
        if said.output_tokens is None or since <= 0:
            return said
        made = said.output_tokens + since
        return msgspec.structs.replace(said, output_tokens=made, text_tokens=made)


class FailedAttempt(msgspec.Struct, frozen=True):
    """A backend that was asked and did not answer, charged or not."""

    asked: Asked
    message: str
    """Fit for the caller's eyes."""
    status: int | None
    """HTTP status that it answered with, where it did."""
    started_at: float
    """When it was asked, in seconds since the epoch."""
    seconds: float
    """From then to its failure."""
    cost_nano: int = 0
    """Nano-dollars in a row of its own. Those of the call's last attempt are in the call's row."""
    ran: Ran = Ran.NO
    entry: int = 0
    """As ``AttemptRecord`` has it."""
    hedge: bool = False
    """It was asked beside another, which was slow."""
    hedged: bool = False
    """It has not failed: another was quicker, or its time was over while another went on."""

    @property
    def backend(self) -> str:
        """Its name."""
        return self.asked.backend

    @property
    def slug(self) -> str:
        """The failure's name."""
        return HEDGED if self.hedged else self.asked.failure.slug


def history_of(
    decision: Decision,
    tried: list[FailedAttempt],
    not_asked: tuple[tuple[str, str], ...],
    received_at: float,
    price: PriceRecord | None,
    amounts: dict[str, int],
) -> CallHistory:
    """What is kept of a call's way."""
    attempts = [_remembered(one, received_at) for one in tried[-MOST_KEPT:]] if tried else ()
    return CallHistory(
        decision.slo,
        tuple(map(_recorded, decision.quotes[:MOST_KEPT])),
        decision.refused[:MOST_KEPT],
        tuple(attempts),
        price,
        amounts,
        not_asked[:MOST_KEPT],
        decision.region,
    )


def _remembered(one: FailedAttempt, received_at: float) -> AttemptRecord:
    after_s = one.started_at - received_at
    said = words(one.message)
    return AttemptRecord(one.backend, one.slug, said, after_s, one.seconds, one.entry, one.hedge)


def _recorded(quote: Quote) -> QuoteRecord:
    delay, estimate = quote.delay, quote.estimate
    return QuoteRecord(
        quote.backend,
        delay.seconds and round(delay.seconds, 6),
        delay.cold_s > 0,
        delay.load_s and round(delay.load_s, 6),
        quote.reserved,
        estimate.marginal,
        estimate.charge,
        estimate.hold,
        None if quote.seen is None else seen_record(quote.seen),
    )


def seen_record(candidate: Candidate) -> SeenRecord:
    """How the backend stood."""
    load, run = candidate.load, candidate.run
    starting_s = load.starting_s
    return SeenRecord(
        load.in_flight,
        load.slots,
        load.warm_idle,
        None if starting_s is None else round(starting_s, 3),
        load.ready_in_s and round(load.ready_in_s, 3),
        # As round(x, 6), which writes out all of its digits first and costs several times as much.
        int(run.mean * MICRO + 0.5) / MICRO,
        int(run.deviation * MICRO + 0.5) / MICRO,
        candidate.cold_p50,
        candidate.cold_p95,
        load.tail_s and round(load.tail_s, 3),
        load.load_s and round(load.load_s, 3),
        load.round_trip_s and round(load.round_trip_s, 6),
        candidate.region,
    )
