"""What is known of one call on its way through the gateway.

It is made of parts, each of which exists when it is true:

    Admission   the limits have room: what is held of them
    Attempt     a backend's slot is taken: what the call does there
    Ending      the call is over: its rows, which both stores get once
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from adapters.errors import BackendError
from adapters.types import Call
from gateway.backends.leases import Lease
from gateway.backends.live import LiveBackend
from gateway.calls.admission import UNLIMITED, Admission, holds, more_of, most_held
from gateway.calls.attempt import AtBackend, Attempt, Durable
from gateway.calls.ending import GRACE_S, LONGEST_S, Ending, GivenUp, StopCause
from gateway.calls.history import FailedAttempt, StreamProgress
from gateway.dialects.output_bound import bounded
from gateway.money.charge_records import charged_alone
from gateway.money.counted import Part, charged_of
from gateway.money.estimates import by_tokens
from gateway.money.tariffs import PriceInForce
from gateway.preferences import Preferences
from gateway.routing.codes import ReasonCode
from gateway.routing.repeating import WhyNot
from gateway.routing.router import Decision, Quote, device_us, reason_for, taken_from_line
from gateway.storage.base import Claim, Hold, LedgerRow, LimitStatus
from gateway.storage.claims import TOKENS, ClaimTemplate
from gateway.storage.history import OWN_ROW
from gateway.types import Principal, Unit


class CallState(msgspec.Struct, eq=False):
    """Belongs to the task that makes it. Many read it, three write to it: the dispatcher moves it
    on, up to an attempt and its answer; ``Completion`` ends attempts, and the call; ``TopUp`` lets
    the hold grow. ``stop`` is for everybody. A struct: so many attributes would be a dictionary of
    each call's own.
    """

    call: Call
    asked_model: str
    """That the caller named; ``call`` has the one that is asked."""
    principal: Principal
    preferences: Preferences
    received: float
    """Monotonic seconds."""
    received_at: float
    """Seconds since the epoch."""
    policy: str
    """The version in force."""
    task: asyncio.Task[Any] | None
    """That ``stop`` cancels."""
    route: str = ""
    reason: ReasonCode = "NONE"
    admission: Admission = UNLIMITED
    counted: Mapping[Unit, int] = msgspec.field(default_factory=dict)
    """What it holds beside money and device time, where that is limited."""
    at_backend: Hold | None = None
    at_model: Hold | None = None
    """What it holds in the limits of its backend, and of the larger model that it became."""
    left_models: tuple[tuple[str, Hold], ...] = ()
    """Those that it is no more, each with what it held in its limits."""
    backend: LiveBackend | None = None
    """That answers, or was turned to last."""
    attempt: Attempt | None = None
    other_would_hold: Callable[[float], dict[Unit, int]] | None = None
    """As ``Attempt.would_hold``, of the other attempt where two are asked, or soon will be."""
    other: AtBackend | None = None
    """That attempt, once it is asked."""
    in_force: PriceInForce | None = None
    """By what the last attempt is charged: what held when it was quoted."""
    ending: Ending | None = None
    output_bound: int | None = None
    """Tokens that each answer may be, where the caller bounds none and has to pay for them."""
    is_bounded: bool = False
    """The backend was told that bound."""
    durable: Durable | None = None
    """How it is asked, where it is a durable job."""
    place: Callable[[], tuple[int, float] | None] | None = None
    """While it waits in line: the calls before it, and seconds until it should begin."""
    has_begun: bool = False
    """A backend has had a slot for it, and may have been asked."""
    opened: bool = False
    """A row of it is durable: a restart would settle it."""
    may_be_open: bool = False
    """It was asked to be, for a second backend, and nobody knows whether it is."""
    waited_s: float = 0.0
    """Seconds in the gateway's own queue for a slot of a backend."""
    may_wait_s: float = 0.0
    """Seconds that it may still wait there, by which its deadline moves: a run has its time."""
    answered_s: float = 0.0
    """Seconds from asking its backends, failed ones too, to the answer, or its first piece."""
    earlier_s: float = 0.0
    """Of these, what passed before the last was asked: others had failed, or were slow."""
    left: tuple[LimitStatus, ...] = ()
    """What its caller's budgets have left, where the answer says so."""
    decision: Decision | None = None
    tried: list[FailedAttempt] = msgspec.field(default_factory=list)
    """Those that failed, in turn; a backend may be among them twice."""
    not_asked: tuple[tuple[str, WhyNot], ...] = ()
    """Backends that could have been asked and were not, each with why."""
    charged: list[LedgerRow] = msgspec.field(default_factory=list)
    """The rows of those that are paid for."""
    starts: tuple[LedgerRow, ...] = ()
    """Of cold starts that it has waited for and does not pay."""
    stop_cause: StopCause = ""
    gave_up: GivenUp | None = None
    is_raced: bool = False
    job: asyncio.Task[None] | None = None
    """Settles the call when the work that was promised to its caller has ended."""

    @property
    def failures(self) -> int:
        """Attempts that failed; one that another was quicker than has not."""
        return len(self.tried) and sum(not one.hedged for one in self.tried)

    @property
    def cost_nano(self) -> int:
        """Nano-dollars that the caller is charged; 0 until the call has ended."""
        return 0 if self.ending is None else self.ending.cost_nano

    @property
    def must_end_at(self) -> float:
        """By when it has had its time, in monotonic seconds."""
        deadline = self.call.deadline
        if self.attempt is None:
            return deadline + self.may_wait_s if self.has_begun else self.waits_until
        return min(deadline, self.attempt.must_end_at)

    @property
    def waits_until(self) -> float:
        """By when it must have begun, in monotonic seconds; of one whose deadline is its caller's,
        that."""
        if self.durable is not None or not self.may_wait_s:
            return self.call.deadline
        return self.received + self.waited_s + self.may_wait_s

    # --- its way ------------------------------------------------------------------------------

    def routed(self, decision: Decision) -> None:
        """Takes over why the call goes where it goes."""
        self.decision = decision
        self.route = decision.route
        self.reason = decision.reason

    def becomes(self, call: Call, decision: Decision, at_model: Hold | None) -> Part | None:
        """The same caller's call of another model, from here on. What is left of the model before,
        where that was none that its caller asked for."""
        left = self._leaves_model(self.charged)
        self.call, self.at_model = call, at_model
        self.routed(decision)
        return left

    def narrowed(self, quotes: tuple[Quote, ...]) -> None:
        """The limits have room for these of the decision's quotes alone."""
        decision = self.decision
        assert decision is not None
        left = {quote.backend for quote in quotes} | {one.backend for one in self.tried}
        dear = [quote.backend for quote in decision.quotes if quote.backend not in left]
        self.leave_out(dear, "budget")
        self._goes_to(quotes[0])

    def left_alone(
        self, quote: Quote, untried: Sequence[Quote], why: WhyNot = "cooling_down"
    ) -> None:
        """The backend of ``quote`` is not asked after all; the next of ``untried`` is asked in its
        place, if there is one."""
        self.leave_out((quote.backend,), why)
        if untried:
            self._goes_to(untried[0])

    def _goes_to(self, quote: Quote) -> None:
        assert self.decision is not None
        self.reason = "FAILOVER" if self.tried else reason_for(self.decision, quote)

    def moves_to(self, quote: Quote) -> None:
        """A slot was free there sooner than where the call stood in line."""
        assert self.decision is not None
        self.reason = "FAILOVER" if self.tried else taken_from_line(self.decision, quote)

    def leave_out(self, backends: Iterable[str], why: WhyNot) -> None:
        """These are not asked."""
        self.not_asked = tuple({**dict(self.not_asked), **dict.fromkeys(backends, why)}.items())

    @property
    def unaffordable(self) -> list[str]:
        """Backends that nothing but money kept from being asked."""
        return [backend for backend, why in self.not_asked if why == "budget"]

    @property
    def pays_for_output(self) -> bool:
        """Whether what it holds depends on how much it writes."""
        spends = any(holds(one.claims, "nano_usd") for one in self.beside)
        return spends or self.admission.holds("nano_usd") or self.limits_tokens

    @property
    def limits_tokens(self) -> bool:
        """Whether a limit of tokens holds for it."""
        if "tokens" in self.counted:
            return True
        if self.at_backend is None and self.at_model is None:
            return False
        return any(claim.unit in TOKENS for one in self.beside for claim in one.claims)

    @property
    def beside(self) -> tuple[Hold, ...]:
        """What it holds beside its admission, each under an id of its own."""
        at_backend, at_model = self.at_backend, self.at_model
        if at_backend is None and at_model is None:
            return ()
        return tuple([one for one in (at_model, at_backend) if one is not None])

    def hold_more(self, hold_id: str, unit: Unit, amount: int) -> None:
        """``amount`` more of ``unit`` is held under the id."""
        if hold_id == self.call.id:
            self.admission = self.admission.with_more(unit, amount)
        elif self.at_model is not None and self.at_model.id == hold_id:
            self.at_model = Hold(hold_id, more_of(self.at_model.claims, unit, amount))
        elif self.at_backend is not None and self.at_backend.id == hold_id:
            self.at_backend = Hold(hold_id, more_of(self.at_backend.claims, unit, amount))

    def covers(self, quote: Quote) -> bool:
        """Whether a backend may be asked for this quote without holding more."""
        nano, at = quote.estimate.hold, self.at_model
        if (
            at is not None
            and holds(at.claims, "nano_usd")
            and nano > self.room_at_model("nano_usd")
        ):
            return False
        return not self.admission.claims or nano <= self.room("nano_usd")

    def room(self, unit: Unit) -> int:
        """What is held and not used up by attempts that failed and are charged."""
        if unit == "nano_usd":
            return self.admission.hold_nano - sum(row.cost_nano for row in self.charged)
        return most_held(self.admission.claims, unit) - charged_of(self.charged).get(unit, 0)

    def room_at_model(self, unit: Unit) -> int:
        """The same in the limits of the larger model."""
        claims = () if self.at_model is None else self.at_model.claims
        charged = [row for row in self.charged if row.model == self.call.model]
        return most_held(claims, unit) - charged_of(charged).get(unit, 0)

    def count(self, amounts: Mapping[Unit, int]) -> None:
        """It holds so much beside money and device time, where it held less."""
        known = self.counted
        self.counted = {
            **known,
            **{unit: max(known.get(unit, 0), n) for unit, n in amounts.items()},
        }

    def bound_output(self, template: ClaimTemplate) -> None:
        """An answer without a bound of its own is given one from here on, where the limits are
        ones of what it costs."""
        wanted = self.preferences
        limited = template.spends or template.tokens
        if limited and wanted.unbounded and self.output_bound is None:
            self.output_bound = max(1, wanted.output_tokens // wanted.unbounded)

    def hold_lasts_s(self, now: float) -> float:
        """Seconds after which what it holds expires by itself: some time after nobody waits for
        its answer any more. ``now``: monotonic seconds."""
        left_s = self.call.deadline + self.may_wait_s - now
        return GRACE_S + (left_s if 0.0 <= left_s <= LONGEST_S else LONGEST_S * (left_s > 0.0))

    def widen(self, claims: Iterable[Claim], now: float) -> bool:
        """The call holds as much in limits that came after its admission, and what it holds counts
        against those that were changed. True where it holds more than before. ``now``: monotonic
        seconds."""
        held = len(self.admission.claims)
        self.admission = self.admission.widened(claims, self.asked_to_hold(now))
        return len(self.admission.claims) > held

    def asked_to_hold(self, now: float) -> dict[Unit, int]:
        """What a call that nothing limited would hold: for all that it may still be sent to, and
        for what it has used by now, at both backends where two are asked."""
        attempt = self.attempt
        if attempt is None:
            quotes = () if self.decision is None else self.decision.quotes
            nano = max((quote.estimate.hold for quote in quotes), default=0)
            return {**self.counted, "nano_usd": nano, "gpu_us": device_us(quotes)}
        own = self.asked_at(attempt, now)
        if self.other_would_hold is None:
            return own
        other = {**self.counted, "calls": 0, **self.other_would_hold(now)}
        return {unit: amount + other[unit] for unit, amount in own.items()}

    def asked_at(self, attempt: Attempt, now: float) -> dict[Unit, int]:
        """The same for one attempt."""
        return {**self.counted, **attempt.would_hold(now)}

    def begin(self, backend: LiveBackend, quote: Quote, lease: Lease, waited_s: float) -> Attempt:
        """The backend has a slot for the call, after ``waited_s`` seconds in line."""
        if waited_s:
            self.waited(waited_s)
        self.has_begun = True
        if self.not_asked:
            self.not_asked = tuple(one for one in self.not_asked if one[0] != backend.name)
        call, in_force = self.call, quote.in_force
        price = None if in_force is None else in_force.price
        tokens_count = by_tokens(price) or self.limits_tokens
        if self.output_bound is not None and tokens_count:
            call = bounded(call, backend.spec.common.output_bound, self.output_bound)
        self.is_bounded = call is not self.call
        progress = StreamProgress()
        attempt = self.attempt = Attempt(call, backend, quote, lease, progress, price, tokens_count)
        self.in_force = in_force
        return attempt

    def waited(self, seconds: float) -> None:
        """It stood in line for so long, at no backend."""
        self.waited_s += seconds
        if still := min(seconds, self.may_wait_s):
            self.may_wait_s -= still
            self.call = msgspec.structs.replace(self.call, deadline=self.call.deadline + still)

    def answered(self, attempt: Attempt, now: float) -> None:
        """The backend gave its answer, or the first piece of it. ``now``: monotonic seconds."""
        self.answered_s += now - attempt.lease.leased_at

    def failed(self, attempt: Attempt, failure: BackendError, now: float, now_at: float) -> None:
        """An attempt has failed, at ``now`` in monotonic seconds and ``now_at`` since the epoch."""
        seconds = max(0.0, now - attempt.asked_at)
        record = FailedAttempt(
            asked=attempt.asked(failure),
            message=failure.message,
            status=failure.status,
            started_at=now_at - seconds,
            seconds=seconds,
            ran=failure.ran,
            hedge=self.reason == "HEDGE",
        )
        self.tried.append(record)

    def charge(self, row: LedgerRow) -> LedgerRow:
        """A failed attempt is charged: returns its row, which has an id of its own."""
        number = len(self.charged) + 1
        row = msgspec.structs.replace(
            row,
            id=f"{row.id}#{number}",
            kind="attempt",
            hold_nano=0,
            history=None if row.history is None else charged_alone(row.history),
        )
        self.charged.append(row)
        last = self.tried[-1]
        self.tried[-1] = msgspec.structs.replace(last, cost_nano=row.cost_nano, entry=number)
        return row

    def leaves_backend(self, rows: Sequence[LedgerRow]) -> Part | None:
        """What was held in the limits of the backend, of which ``rows`` were used."""
        hold, self.at_backend = self.at_backend, None
        return None if hold is None else Part(hold, rows)

    def _leaves_model(self, rows: Sequence[LedgerRow]) -> Part | None:
        hold, self.at_model, model = self.at_model, None, self.call.model
        if hold is None:
            return None
        self.left_models = (*self.left_models, (model, hold))
        return Part(hold, [row for row in rows if row.model == model])

    def leaves_all(self, rows: Sequence[LedgerRow]) -> list[Part]:
        """All that was held beside the admission, of which ``rows``, its own first, were used."""
        if self.at_model is None and self.at_backend is None:
            return []
        both = self._leaves_model(rows), self.leaves_backend(rows[:1])
        return [part for part in both if part is not None]

    def charge_in_own_row(self) -> None:
        """The last failed attempt is charged in the row of the call, which it ends."""
        if self.tried:
            self.tried[-1] = msgspec.structs.replace(self.tried[-1], entry=OWN_ROW)

    def end(self, row: LedgerRow) -> Ending:
        """The call is over."""
        if not self.charged:
            ending = self.ending = Ending(row, (), self.starts, row.cost_nano)
            return ending
        cost_nano = row.cost_nano + sum(one.cost_nano for one in self.charged)
        ending = self.ending = Ending(row, tuple(self.charged), self.starts, cost_nano)
        return ending

    def stop(self, cause: StopCause) -> None:
        """Breaks the call off, whatever it waits for; the first cause counts."""
        if self.ending is None and not self.stop_cause and self.task is not None:
            self.stop_cause = cause
            self.task.cancel()

    def goes_on_in(self, job: asyncio.Task[None]) -> None:
        """The caller has its answer; what is left belongs to ``job``, which ``stop`` cancels."""
        self.job = self.task = job
