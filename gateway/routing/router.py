"""Which backends a call should try, in which order, and why. Pure: values in, a Decision out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Literal

import msgspec

from adapters.types import ANY_IMAGE, SPOKEN_AS, Capabilities, ImageKind, Task
from gateway.money.estimates import sold_by_tokens
from gateway.money.inputs import TEXT_ALONE, InputParts
from gateway.money.pricing import FREE, Estimate, Expectation, estimate
from gateway.money.tariffs import PriceInForce
from gateway.policy.model import Ability, Route
from gateway.policy.sections.price import Price
from gateway.routing.codes import ReasonCode, RefusalCode
from gateway.routing.conversations import NOTHING_KEPT, KeptPrefix, Lost, lost_at, reading_price
from gateway.routing.forecast import (
    BackendLoad,
    Delay,
    RunTime,
    cold_delay,
    warm_delay,
    with_load,
    with_reading,
    with_way,
)
from gateway.routing.needs import NO_NEEDS, Needs, is_tight, unmet_by
from gateway.routing.regions import near_first
from gateway.types import MICRO

SLO_MARGIN = 0.8
"""A predicted delay counts as within the SLO up to this share of it: predictions err."""

SHORTEST_HOLD_S = 0.25
"""A shorter hold would have to be topped up before anybody could know that the call runs long."""

LIKELY_PART = 8
"""What is declared for a part is the most; most parts are this many times less."""

ORDERS_ITSELF = frozenset(("cheapest", "fastest"))
"""With the others the route has said where a call goes: by a list, or by lot."""

_OF_THE_ORDER = frozenset(("LEAST_DELAY", "FASTEST", "LISTED", "WEIGHTED", "LAST_RESORT"))
"""What these say of the first choice holds of whoever is next in its order."""


class RoutingRequest(msgspec.Struct, frozen=True, gc=False):
    """What the router must know of a call."""

    task: Task
    stream: bool
    body_bytes: int
    output_tokens: int
    """The most that it may produce; for holds at token prices."""
    parts: InputParts = TEXT_ALONE
    """What its bytes do not show."""
    part_tokens: int = 0
    """The most tokens that these should be, as the policy declares."""
    images: int = 0
    """The most that it may make, each of them an ``image``."""
    audio_s: float = 0.0
    """Seconds of sound, the most that it may bring or make."""
    in_session: bool = False
    """It belongs to a conversation, of which candidates may have kept something."""
    needs: Needs = NO_NEEDS
    bounded_tokens: int = 0
    """Of output, where its body says a bound."""
    region: str = ""
    """Where its caller is, as a proxy that is trusted says; empty: nobody knows."""
    image: ImageKind = ANY_IMAGE


class Candidate(msgspec.Struct, frozen=True, gc=False):
    """A backend as it stands at the instant of the decision."""

    name: str
    price: Price | None
    capabilities: Capabilities
    max_request: int | None
    load: BackendLoad
    run: RunTime
    cold_p95: float | None
    """``None`` when the backend is never cold while it is ready."""
    max_run: float
    blocked: Literal["", "drained", "not_ready", "cooling_down", "returning", "load_failed"] = ""
    max_queue: int | None = None
    """Calls that may wait for a slot."""
    more_input: int = 0
    """Tokens of input that such calls were seen to have here beyond what is held otherwise."""
    last_resort: bool = False
    """Though it is blocked, it is asked where no other backend can take the call."""
    in_force: PriceInForce | None = None
    """``price``, and what is held by."""
    cold_p50: float | None = None
    """``None`` as ``cold_p95``."""
    takes: frozenset[Ability] | None = None
    """What calls may bring, or ask for; ``None``: anything."""
    context: int | None = None
    """Tokens that the model takes there, where that is known."""
    kept: KeptPrefix = NOTHING_KEPT
    """Of the call's conversation."""
    region: str | None = None
    """Where it runs, where the policy says so."""


def available(candidate: Candidate) -> Candidate:
    """As it stands when it may be asked and has room."""
    return msgspec.structs.replace(candidate, blocked="", max_queue=None)


def with_model_load(candidate: Candidate, load_s: float | None) -> Candidate:
    """With the seconds of load that a call of a loadable model waits for; None: it failed."""
    if load_s is None:
        blocked = candidate.blocked or "load_failed"
        return msgspec.structs.replace(candidate, blocked=blocked, last_resort=False)
    if not load_s:
        return candidate
    load = msgspec.structs.replace(candidate.load, load_s=load_s)
    return msgspec.structs.replace(candidate, load=load)


class Quote(msgspec.Struct, frozen=True, gc=False):
    """What one backend would mean for the call."""

    backend: str
    delay: Delay
    estimate: Estimate
    reserved: bool
    paid: bool
    """Asking it adds to a bill: the ledger's row comes first."""
    hold_s: float
    """Seconds of running that the hold covers."""
    input_held: int = 0
    """Tokens of input that the hold covers; 0 where none are paid."""
    output_held: int = 0
    """Tokens of output that the hold covers."""
    in_force: PriceInForce | None = None
    """By what the call is charged if this backend is asked, whatever the policy says later."""
    seen: Candidate | None = None
    """The backend as it stood, from which all of this follows."""
    lost: Lost | None = None
    """Of the call's conversation, where any candidate has kept something: it is in ``delay`` and in
    the estimate's ``marginal``."""

    @property
    def uses_device(self) -> bool:
        """Whether its seconds count as those of a device: where time is bought, and on machines
        of one's own."""
        return self.reserved or bool(self.estimate.per_second)


def device_us(quotes: Iterable[Quote]) -> int:
    """Microseconds of device that the longest of them may use; none where tokens are bought."""
    longest = 0.0
    for quote in quotes:
        if quote.hold_s > longest and (quote.reserved or quote.estimate.per_second):
            longest = quote.hold_s
    return round(longest * MICRO) if longest else 0


class Decision(msgspec.Struct, frozen=True, gc=False):
    """The order in which backends are tried, with everything that led to it."""

    quotes: tuple[Quote, ...]
    refused: tuple[tuple[str, RefusalCode], ...]
    reason: ReasonCode
    route: str
    slo: float
    region: str = ""
    """Of the caller, where it is known."""


def decide(
    question: RoutingRequest,
    candidates: Sequence[Candidate],
    route: Route,
    slo: float,
    draw: Callable[[], float],
) -> Decision:
    """Filters with reasons, quotes every survivor, ranks by the route's order; behind them come
    those that are asked only where no other backend answers, their reason kept all the same.

    ``draw`` gives a number in [0, 1) and is called only for weighted routes.
    """
    quotes: list[Quote] = []
    last: list[Quote] = []
    text = question.body_bytes - question.parts.data_bytes
    needs = None if question.needs is NO_NEEDS else question.needs
    refused: list[tuple[str, RefusalCode]] = []
    kept = _most_kept(candidates) if question.in_session else NOTHING_KEPT
    for candidate in candidates:
        refusal: RefusalCode | None = candidate.blocked or None
        if refusal is None or candidate.last_resort:
            refusal = _unfit(question, candidate) or refusal
        if refusal is None or (candidate.last_resort and refusal == candidate.blocked):
            quote = _quote(question, candidate, text)
            if kept.tokens:
                quote = _in_session(quote, candidate, kept)
            if route.max_price is not None and quote.estimate.marginal > route.max_price:
                refusal = "over_max_price"
            elif refusal is None and needs and _is_tight(needs, question, candidate):
                last.append(quote)
                refusal = "context_too_small"
            else:
                (quotes if refusal is None else last).append(quote)
        if refusal is not None:
            refused.append((candidate.name, refusal))
    ranked, reason = _rank(quotes, route, slo, draw, candidates)
    if question.region and route.order in ORDERS_ITSELF:
        near = near_first(ranked, question.region, slo * SLO_MARGIN)
        ranked, reason = near, reason if near == ranked else "REGION"
    if last:
        ranked, reason = ranked + sorted(last, key=_by_delay), reason if ranked else "LAST_RESORT"
    return Decision(tuple(ranked), tuple(refused), reason, route.name, slo, question.region)


def reason_for(decision: Decision, first: Quote) -> ReasonCode:
    """Why ``first`` is the first to be asked, where those before it may not be, in the words that
    the decision had for its own first."""
    if first.backend == decision.quotes[0].backend:
        return decision.reason
    if any(name == first.backend for name, _ in decision.refused):
        return "LAST_RESORT"
    if decision.reason in _OF_THE_ORDER:
        return decision.reason
    if first.delay.seconds > decision.slo * SLO_MARGIN:
        return "LEAST_DELAY"
    if first.reserved:
        return _reserved(first)
    reserved = any(quote.reserved for quote in decision.quotes)
    return _elsewhere(first, reserved or decision.reason not in ("WARM", "COLD", "REGION"))


def taken_from_line(decision: Decision, quote: Quote) -> ReasonCode:
    """Why a call goes to ``quote`` that waited in line: a slot is free there sooner than anywhere
    else."""
    if quote.reserved:
        return "RES_WAIT_OK"
    return "SPILL_WARM" if any(one.reserved for one in decision.quotes) else "WARM"


def _serves_reserved(candidates: Sequence[Candidate]) -> bool:
    for candidate in candidates:
        if candidate.price is None or candidate.price.per_hour is not None:
            return True
    return False


def _unfit(question: RoutingRequest, candidate: Candidate) -> RefusalCode | None:
    capabilities = candidate.capabilities
    task, tasks = question.task, capabilities.tasks
    if task not in tasks and SPOKEN_AS.get(task) not in tasks:
        return "task_unsupported"
    if question.stream and not capabilities.streaming:
        return "no_streaming"
    limit = candidate.max_request
    if limit is not None and question.body_bytes > limit:
        return "too_large"
    if question.needs is not NO_NEEDS:
        unmet = unmet_by(question.needs, candidate.takes, candidate.context)
        if unmet is not None:
            return unmet
    load, most = candidate.load, candidate.max_queue
    if most is not None and load.slots is not None and load.in_flight >= load.slots + most:
        return "queue_full"
    return None


def _is_tight(needs: Needs, question: RoutingRequest, candidate: Candidate) -> bool:
    tokens = question.bounded_tokens
    return bool(needs.prompt_tokens) and is_tight(needs, candidate.context, tokens)


def _quote(question: RoutingRequest, candidate: Candidate, text: int) -> Quote:
    """``text``: the bytes that are no data of parts."""
    run, load = candidate.run, candidate.load
    if candidate.cold_p95 is None:
        delay = warm_delay(load, run.mean)
    else:
        delay = cold_delay(load, run.mean, candidate.cold_p95)
    if load.load_s:
        delay = with_load(delay, load.load_s)
    if load.round_trip_s:
        delay = with_way(delay, load.round_trip_s)
    price, high = candidate.price, run.high
    if high < SHORTEST_HOLD_S:
        high = SHORTEST_HOLD_S
    if high > candidate.max_run:
        high = candidate.max_run
    if price is None:
        return Quote(candidate.name, delay, FREE, True, False, high, seen=candidate)
    images, audio_s = question.images, question.audio_s
    media = price.per_image is not None or price.per_audio_second is not None
    if media and sold_by_tokens(price, question.task):
        images, audio_s = 0, 0.0
    expected = Expectation(
        run.mean,
        high,
        delay.cold_s,
        text // 4 + question.part_tokens // LIKELY_PART,
        text + question.part_tokens + candidate.more_input,
        question.output_tokens,
        images,
        audio_s,
        load.tail_s,
        question.image,
    )
    in_force, reserved = candidate.in_force, price.per_hour is not None
    found = estimate(price, expected, None if in_force is None else in_force.dearest)
    return Quote(
        candidate.name,
        delay,
        found,
        reserved,
        not reserved,
        high,
        expected.input_high_tokens,
        expected.output_tokens,
        in_force,
        candidate,
    )


def _most_kept(candidates: Sequence[Candidate]) -> KeptPrefix:
    return max([one.kept for one in candidates], key=lambda kept: kept.tokens, default=NOTHING_KEPT)


def _in_session(quote: Quote, candidate: Candidate, kept: KeptPrefix) -> Quote:
    """With what it means that some backend has ``kept`` so much of the conversation. The hold stays
    as it is: nothing may be in a cache after all."""
    found, saved = lost_at(candidate.kept, kept, reading_price(candidate.price))
    estimate = quote.estimate
    return msgspec.structs.replace(
        quote,
        delay=with_reading(quote.delay, found.seconds),
        estimate=msgspec.structs.replace(estimate, marginal=max(estimate.marginal - saved, 0)),
        lost=found,
    )


def _rank(
    quotes: list[Quote],
    route: Route,
    slo: float,
    draw: Callable[[], float],
    candidates: Sequence[Candidate],
) -> tuple[list[Quote], ReasonCode]:
    if not quotes:
        return quotes, "NONE"
    if route.order == "listed":
        return quotes, "LISTED"
    if route.order == "fastest":
        return sorted(quotes, key=_by_delay), "FASTEST"
    if route.order == "weighted":
        return _weighted(quotes, route.weights or {}, draw), "WEIGHTED"
    limit = slo * SLO_MARGIN
    if len(quotes) > 1 or quotes[0].delay.seconds > limit:
        late = [quote for quote in quotes if quote.delay.seconds > limit]
        if len(late) == len(quotes):
            return sorted(quotes, key=_by_delay), "LEAST_DELAY"
        fits = [quote for quote in quotes if quote.delay.seconds <= limit]
        quotes = sorted(fits, key=_by_price) + sorted(late, key=_by_delay)
    first = quotes[0]
    if first.reserved:
        return quotes, _reserved(first)
    return quotes, _elsewhere(first, _serves_reserved(candidates))


def _by_delay(quote: Quote) -> tuple[float, int]:
    return quote.delay.seconds, quote.estimate.marginal


def _by_price(quote: Quote) -> tuple[int, float]:
    return quote.estimate.marginal, quote.delay.seconds


def _weighted(
    quotes: list[Quote], weights: dict[str, float], draw: Callable[[], float]
) -> list[Quote]:
    total = sum(weights.get(quote.backend, 0.0) for quote in quotes)
    mark = draw() * total
    for quote in quotes:
        mark -= weights.get(quote.backend, 0.0)
        if mark < 0:
            return [quote, *(other for other in quotes if other is not quote)]
    return quotes


def _reserved(first: Quote) -> ReasonCode:
    if first.delay.load_s > 0:
        return "RES_LOAD"
    return "RES_WAIT_OK" if first.delay.seconds > first.delay.way_s else "RES_FREE"


def _elsewhere(first: Quote, has_reserved: bool) -> ReasonCode:
    if has_reserved:
        return "SPILL_COLD" if first.delay.cold_s > 0 else "SPILL_WARM"
    return "COLD" if first.delay.cold_s > 0 else "WARM"
