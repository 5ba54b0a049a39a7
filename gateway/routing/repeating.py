"""Whether a call that failed is asked again, and of whom. Pure.

Nothing here looks at a status: a failure says whose fault it was and whether it ran, the rules say
what a repetition may cost. Before the first byte has reached the caller:

    whose fault          asked next
      REQUEST            nobody: every backend would refuse it
      HERE               a backend that is not known to be as small
      SUSPECT            the next one; where that says the same, the request is at fault
      BACKEND            the next one, if it has not run, or if running it twice does no harm
                         (``idempotent``) and costs nothing but tokens (``repeat``)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from adapters.errors import BackendError, FailureClass, Fault, Ran
from gateway.policy.model import AnswerBound, RepeatRule, Retries
from gateway.policy.sections.price import Price
from gateway.routing.router import Quote

SHORT_WAIT_S = 2.0
"""The longest Retry-After for which a call waits rather than going elsewhere."""
_NOBODYS = frozenset((FailureClass.OVERLOADED, FailureClass.SHORTAGE))
"""Failures that say nothing of the request, however many backends have met them."""
_PASSING = frozenset((FailureClass.OVERLOADED, FailureClass.LOADING))
"""Failures that end by themselves, so that the same backend may be asked again."""


WhyNot = Literal[
    "request",  # the request is at fault: every backend would refuse it
    "context",  # it is not known to take more than those for which the call was too long
    "failure_not_listed",  # the route's ``retries.on`` does not name the failure
    "not_idempotent",  # the call may have run, and to run it twice may do harm
    "repeat",  # the call may have run, and ``repeat`` lets nobody be billed twice
    "attempts",  # the route's ``retries.attempts`` were made
    "repeat_budget",  # the route's ``retries.budget`` is used up
    "backend_retry_budget",  # its own ``retry_budget`` is used up
    "deadline",  # the call has had its time
    "budget",  # a limit of money has no room for what it may cost
    "store",  # the shared store did not say whether there is room
    "cooling_down",  # it began to rest after the decision
    "backend_limit",  # a limit of its own has no room for the call
    "model_limit",  # a limit of the larger model that it serves has no room for the call
]
"""Why a backend that could have taken a call was not asked for it."""


class RepeatRules(msgspec.Struct, frozen=True):
    """What the policy says of repetitions of one model's calls on one route."""

    idempotent: bool
    """To run a call twice does no harm but cost."""
    repeat: RepeatRule | None = None
    """What the route says; None: the backend's own rule."""
    retries: Retries | None = None
    first_token: AnswerBound | None = None
    """Seconds, for streams; None: the backend's own."""
    answer: AnswerBound | None = None
    """The same for whole answers."""
    slo: float = 0.0
    """Seconds."""


class Asked(msgspec.Struct, frozen=True):
    """A backend that failed the call, as far as the next step depends on it."""

    backend: str
    failure: FailureClass
    fault: Fault
    price: Price | None
    repeat: RepeatRule
    """The backend's own rule."""
    context: int | None = None
    """Tokens that the backend is declared to take."""


def costs_tokens_at_most(price: Price | None) -> bool:
    """Whether to run a call once more at a backend of this price adds nothing to a bill but
    tokens."""
    return price is None or not price.bills_runs


def may_go_on(rules: RepeatRules, failure: BackendError, asked: Asked) -> bool:
    """Whether any other backend may be asked after this failure at ``asked``."""
    return what_forbids(rules, failure, asked) is None


def what_forbids(rules: RepeatRules, failure: BackendError, asked: Asked) -> WhyNot | None:
    """Why no other backend may be asked after this failure at ``asked``; None where one may."""
    if failure.fault is Fault.REQUEST:
        return "request"
    if not _listed(rules.retries, failure.failure):
        return "failure_not_listed"
    if failure.ran is Ran.NO:
        return None
    if not rules.idempotent:
        return "not_idempotent"
    rule = rules.repeat or asked.repeat
    allowed = rule == "always" or (rule == "auto" and costs_tokens_at_most(asked.price))
    return None if allowed else "repeat"


def is_the_requests(failure: BackendError, before: Sequence[Asked], backend: str) -> bool:
    """Whether a second backend says of the request what one before it said, so that nobody but the
    request can be at fault. That two have no room says nothing of it."""
    if failure.fault not in (Fault.SUSPECT, Fault.HERE):
        return False
    return failure.failure not in _NOBODYS and any(
        one.failure is failure.failure and one.backend != backend for one in before
    )


def is_larger(context: int | None, than: Sequence[Asked], *, declared: bool) -> bool:
    """Whether a backend of ``context`` tokens may take what was too long for all of ``than``;
    ``declared``: it must be known to."""
    if context is None:
        return not declared
    return all(one.context is None or context > one.context for one in than)


def wait_before_again(
    rules: RepeatRules,
    failure: BackendError,
    asked: Asked,
    *,
    spent_s: float,
    rests_s: float,
    cheaper_than_next: bool,
) -> float | None:
    """Seconds after which the same backend is asked once more, where that beats the next one; None
    where it does not. ``spent_s``: since the call came; ``rests_s``: how long the backend is left
    alone now; ``cheaper_than_next``: no other backend would answer it for as little."""
    if not cheaper_than_next or not may_go_on(rules, failure, asked):
        return None
    if failure.reused:
        return 0.0
    if failure.retry_after is None or failure.failure not in _PASSING:
        return None
    wait = max(failure.retry_after, rests_s)
    return wait if wait <= SHORT_WAIT_S and spent_s + wait <= rules.slo else None


class NextStep(msgspec.Struct, frozen=True):
    """What is asked next, in this order, after so many seconds. False where nobody is."""

    quotes: tuple[Quote, ...]
    wait_s: float = 0.0
    why_not: WhyNot | None = None
    """Why untried backends are left out, where any are, or would be."""

    def __bool__(self) -> bool:
        return bool(self.quotes)


def spread(wait_s: float, draw: float) -> float:
    """Seconds of a wait that many callers may have been asked for: never shorter, and longer by up
    to a quarter, so that they do not come back as one. ``draw``: a number in [0, 1)."""
    return wait_s * (1.0 + draw / 4.0)


def nobody(why: WhyNot | None = None) -> NextStep:
    """No backend is asked any more."""
    return NextStep((), why_not=why)


def next_step(
    rules: RepeatRules,
    failure: BackendError,
    asked: Sequence[Asked],
    quote: Quote,
    untried: Sequence[Quote],
    contexts: Mapping[str, int | None],
    spent_s: float,
    rests_s: float = 0.0,
) -> NextStep:
    """What is asked after ``failure``, that of the last of ``asked``. ``quote`` was its own,
    ``untried`` are those of the others, with the ``contexts`` that they are declared to take;
    ``spent_s``: since the call came; ``rests_s``: how long its backend is left alone now."""
    last = asked[-1]
    if rules.retries is not None and len(asked) >= rules.retries.attempts:
        return nobody("attempts")
    if sum(one.backend == last.backend for one in asked) == 1:
        cheaper = not untried or quote.estimate.marginal < untried[0].estimate.marginal
        wait = wait_before_again(
            rules, failure, last, spent_s=spent_s, rests_s=rests_s, cheaper_than_next=cheaper
        )
        if wait is not None:
            return NextStep((quote, *untried), wait)
    if why_not := what_forbids(rules, failure, last):
        return nobody(why_not)
    settled = is_the_requests(failure, asked[:-1], last.backend)
    if failure.failure is FailureClass.CONTEXT_TOO_LONG:
        small = [one for one in asked if one.failure is FailureClass.CONTEXT_TOO_LONG]
        larger = [q for q in untried if is_larger(contexts[q.backend], small, declared=settled)]
        return NextStep(tuple(larger), why_not="context")
    return nobody("request") if settled else NextStep(tuple(untried))


def _listed(retries: Retries | None, failure: FailureClass) -> bool:
    return retries is None or retries.on is None or failure.slug in retries.on


class RepeatBudget:
    """How many calls of the last minute there were, and how many of them were repetitions.

    Ten repetitions a minute are always allowed: a share of few calls is no call at all.
    """

    FREE = 10
    WINDOW_S = 60.0

    def __init__(self) -> None:
        self._since = float("-inf")
        self._calls = self._repeats = 0
        self._before = (0, 0)

    def call(self, now: float) -> None:
        """A call began, at a monotonic instant."""
        self._turn(now)
        self._calls += 1

    def take(self, now: float, percent: float) -> bool:
        """True where one repetition more is within the budget, which is then taken."""
        if not self.has(now, percent):
            return False
        self._repeats += 1
        return True

    def has(self, now: float, percent: float) -> bool:
        """Whether one repetition more is within the budget."""
        self._turn(now)
        left = max(0.0, 1.0 - (now - self._since) / self.WINDOW_S)
        calls = self._calls + self._before[0] * left
        repeats = self._repeats + self._before[1] * left
        return repeats < max(calls * percent / 100.0, self.FREE)

    def _turn(self, now: float) -> None:
        """Two windows, the older of which fades: no list of instants is kept."""
        passed = now - self._since
        if passed < self.WINDOW_S:
            return
        recent = passed < 2 * self.WINDOW_S
        self._before = (self._calls, self._repeats) if recent else (0, 0)
        self._calls = self._repeats = 0
        self._since = now
