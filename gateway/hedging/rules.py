"""When a second backend may be asked for a call, and which. Pure, but for a look at backends."""

from __future__ import annotations

from collections.abc import Iterable

from gateway.active_policy import ActivePolicy
from gateway.backends.live import LiveBackend
from gateway.calls.state import CallState
from gateway.routing.repeating import RepeatBudget, RepeatRules, costs_tokens_at_most
from gateway.routing.router import Quote


class HedgeShare(RepeatBudget):
    """How many calls of the last minute there were, and how many of them a second backend was asked
    for; one a minute is always allowed."""

    FREE = 1


def may_hedge(active: ActivePolicy, state: CallState, backend: LiveBackend, quote: Quote) -> bool:
    """Whether a second backend may be asked while this one is. A job is asked of one at a time, and
    so is a call of the larger model that it became, and a conversation."""
    if state.durable is not None or state.at_model is not None or state.call.task == "realtime":
        return False
    rules = active.rules(state.call.model, state.route)
    if rules.retries is not None and len(state.tried) + 2 > rules.retries.attempts:
        return False
    return may_run_beside(rules, backend, quote)


def may_run_beside(rules: RepeatRules, backend: LiveBackend, quote: Quote) -> bool:
    """Whether a run that nobody waits for any more does no harm there, and costs no more than the
    policy lets a repetition cost."""
    if not rules.idempotent:
        return False
    rule = rules.repeat or backend.spec.common.repeat
    if rule == "auto":
        price = None if quote.in_force is None else quote.in_force.price
        return costs_tokens_at_most(price)
    return rule == "always"


def second_choice(
    active: ActivePolicy, state: CallState, untried: Iterable[Quote], now: float
) -> tuple[Quote, LiveBackend] | None:
    """The next best backend that can begin at once; ``untried``: in the order of the decision.
    ``now``: monotonic seconds."""
    rules = active.rules(state.call.model, state.route)
    assert state.decision is not None
    last = {name for name, _ in state.decision.refused}
    last.update([one.backend for one in state.tried])
    for quote in untried:
        backend = active.backends[quote.backend].newest()
        if quote.backend in last or quote.delay.load_s or not may_run_beside(rules, backend, quote):
            continue
        if active.backend_template(quote.backend, state.received_at) is not None:
            continue  # what its own limits hold of a call ends with its one attempt there
        if _begins_at_once(state, backend, now):
            return quote, backend
    return None


def _begins_at_once(state: CallState, backend: LiveBackend, now: float) -> bool:
    """A start that would have to be waited for helps nobody, and may be billed."""
    standing = backend.standing
    if standing.draining or standing.blocked(now, state.call.model, state.principal.user):
        return False
    slots, queue = backend.slots, backend.queue
    if state.call.deadline - now < backend.learned.run_time(state.call.model).low:
        return False
    return backend.is_warm and not queue.waiting and (slots is None or queue.running < slots)
