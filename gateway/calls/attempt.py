"""A call at one backend: what it uses there, seen or reported, and from when on it costs."""

from __future__ import annotations

from math import inf
from typing import Protocol

import msgspec

from adapters.errors import BackendError, FailureClass, Fault, Ran
from adapters.types import Call, Reply, Usage
from gateway.backends.leases import Lease
from gateway.backends.live import LiveBackend
from gateway.calls.history import StreamProgress
from gateway.money.estimates import (
    SOME_TOKENS,
    by_media,
    by_tokens,
    most_tokens,
    with_media,
    with_tokens,
)
from gateway.money.inputs import InputParts
from gateway.money.pricing import MostTokens, credible, output_cost
from gateway.policy.sections.price import Price
from gateway.routing.answer_times import GENEROUS, SHORTEST_S
from gateway.routing.health import Failed
from gateway.routing.repeating import Asked, costs_tokens_at_most
from gateway.routing.router import Quote, device_us
from gateway.storage.base import Hold
from gateway.types import MICRO, Unit

QUEUED_WITHIN_S = 3.0
"""A platform that said so shortly before a call was given up had not begun it."""
_NOTICED_S = 0.1
"""How exactly a deadline is kept."""
_WHILE_IT_WAITS = frozenset((FailureClass.TIMEOUT, FailureClass.CANCELLED))
"""What may end a call that waits in a platform's queue."""

UNUSED = Usage(
    exec_s=0.0, gpu_s=0.0, input_tokens=0, output_tokens=0, images=0, audio_s=0.0, reported=True
)
"""Of an attempt that has failed at no cost."""


def _times_alone(used: Usage) -> Usage:
    nothing = dict.fromkeys(("total_tokens", "text_tokens", "parts"))
    return msgspec.structs.replace(
        used, input_tokens=0, output_tokens=0, images=0, audio_s=0.0, **nothing
    )


class AtBackend(Protocol):
    """One attempt of a call, and what that holds in the limits of its backend."""

    @property
    def attempt(self) -> Attempt | None: ...

    at_backend: Hold | None


class Durable(Protocol):
    """What a call does otherwise that is a job. Its open row is there from its acceptance on, and
    until it is settled a gateway that leaves it leaves all that is held for it."""

    async def ask(self, attempt: Attempt) -> Reply:
        """Asks the backend, in place of ``invoke``, so that the answer outlives this process.
        Raises BackendError; StorageUnavailable only where nothing was sent."""
        ...


class Attempt(msgspec.Struct, frozen=True):
    """It exists while the call holds a lease of the backend: it was asked, or is about to be."""

    call: Call
    backend: LiveBackend
    quote: Quote
    lease: Lease
    progress: StreamProgress
    price: Price | None
    """By what the call is charged: what held when it was quoted, whatever a reload says."""
    tokens_count: bool
    """Tokens are paid for or limited: where nobody says how many there were, they are estimated."""

    @property
    def asked_at(self) -> float:
        """Monotonic seconds."""
        return self.lease.leased_at

    def cost_beyond_hold(self) -> int:
        """Nano-dollars of the tokens that its stream may bring beyond those that its quote holds
        for."""
        in_force, covered = self.quote.in_force, self.progress.covered
        if in_force is None or covered == inf:
            return 0
        return output_cost(in_force.dearest, round(covered) - self.quote.output_held)

    def would_hold(self, now: float) -> dict[Unit, int]:
        """Money and device time that a call which nothing limited would hold for it: for all that
        it may use, and for what it has used by ``now``, in monotonic seconds."""
        quote, used_s = self.quote, max(0.0, now - self.charged_from())
        nano = quote.estimate.hold + round(quote.estimate.per_second * used_s)
        used_us = round(used_s * MICRO) if quote.uses_device else 0
        return {
            "nano_usd": nano + self.cost_beyond_hold(),
            "gpu_us": device_us((quote,)) + used_us,
        }

    @property
    def start_s(self) -> float:
        """Seconds that a cold start may take, where one was expected."""
        cold = self.backend.learned.cold
        return cold.p95 if self.lease.expected_cold and cold is not None else 0.0

    @property
    def begins_at(self) -> float:
        """Monotonic seconds: when the run should begin, after the platform's own queue and what a
        cold start may take."""
        asked_at = max(self.asked_at, self.progress.sent_at)
        return max(asked_at, self.call.progress.queued_until) + self.start_s

    @property
    def must_end_at(self) -> float:
        """Monotonic seconds: the longest run that the policy allows."""
        return self.begins_at + self.backend.spec.common.max_run

    @property
    def costs_tokens_at_most(self) -> bool:
        """To run the call once more would add nothing to this backend's bill but tokens."""
        return costs_tokens_at_most(self.price)

    def charged_from(self) -> float:
        """The earliest instant, in monotonic seconds, from which the call may be charged for time:
        a wait in the platform's own queue costs nothing, except for what may have been a billed
        start."""
        return max(self.asked_at, self.call.progress.queued_until - self.backend.billed_start_s)

    def understood(self, failure: BackendError, now: float) -> BackendError:
        """A call that was given up, or cancelled by the platform, while it waited in the platform's
        own queue was not begun, unless it was seen to run before: a worker may have lost it."""
        progress, asked_at = self.call.progress, self.asked_at
        since = progress.queued_until
        waited = since >= asked_at > progress.runs_at and now - since <= QUEUED_WITHIN_S
        ran = failure.usage is not None and bool(failure.usage.exec_s or failure.usage.gpu_s)
        if failure.failure not in _WHILE_IT_WAITS or ran or not waited:
            return failure
        return BackendError(
            FailureClass.NOT_STARTED,
            "The call waited in the backend's own queue and was not begun.",
            detail=failure.message,
        )

    def blamed(self, failure: BackendError, now: float) -> BackendError:
        """The failure as it is learned of: a call whose own time was over soon after it was sent
        says nothing of the backend."""
        run_s = GENEROUS * self.backend.learned.run_time(self.call.model).mean
        fair_s = min(max(SHORTEST_S, run_s), self.backend.spec.common.max_run)
        over = now >= self.call.deadline - _NOTICED_S and now - self.begins_at < fair_s - _NOTICED_S
        if failure.failure is not FailureClass.TIMEOUT or not over:
            return failure
        return BackendError(failure.failure, failure.message, fault=Fault.HERE)

    def rests_s(self, failure: BackendError, key: str, now: float) -> float:
        """Seconds for which this failure keeps even the calls of the key ``key`` away for which
        there is no other backend."""
        if failure.retry_after is None:
            return 0.0
        call = self.call
        failed = Failed(failure, call.model, key, hash(call.body), self.lease.trial)
        return self.backend.rests.after_s(failed, now)

    def asked(self, failure: BackendError) -> Asked:
        """What the next step depends on, after this failure."""
        common = self.backend.spec.common
        return Asked(
            self.backend.name,
            failure.failure,
            failure.fault,
            self.price,
            common.repeat,
            common.context,
        )

    @property
    def output_bound(self) -> str:
        """The field in which its backend takes a bound of an answer."""
        return self.backend.spec.common.output_bound

    # --- what was used ------------------------------------------------------------------------

    def used(self, reported: Usage) -> Usage:
        """A success's usage, with the device's share filled in where the backend stated none, and
        the tokens, where they are paid and nobody counted them: no answer is free for that. Where
        it lacks a time see ``with_time_seen``."""
        reported = credible(reported, self)
        price = self.price
        if self.tokens_count:
            call = self.call
            reported = with_tokens(reported, call.body, call.task, self.progress.events)
        if by_media(price):
            reported = with_media(price, reported, len(self.call.body), self.call.task)
        return self._with_share(reported)

    def is_doubtful(self, stated: Usage) -> bool:
        """Whether so many tokens are worth a look at what was asked."""
        read = max(stated.input_tokens or 0, (stated.total_tokens or 0) - SOME_TOKENS)
        return read > len(self.call.body) or (stated.output_tokens or 0) > SOME_TOKENS

    def most_tokens(self) -> MostTokens:
        """What its backend is believed to have read and made."""
        context, held = self.backend.spec.common.context, self.quote.input_held
        call = self.call
        return most_tokens(call.body, call.task, held, context, self.progress.events)

    def answered(self, reply: Reply, now: float) -> Reply:
        """With what it has used, which stays so however long the call goes on, and is charged too
        where that is broken off. ``now``: when the backend has answered, in monotonic seconds."""
        used = self.with_time_seen(self.used(reply.usage), now)
        self.progress.usage = self._seen_until(now, used)
        self.progress.ended_at = now
        return msgspec.structs.replace(reply, usage=used)

    def failed(self, raised: BackendError, now: float) -> BackendError:
        """The failure as it is understood; what it has used stays so however long the call goes on.
        ``now``: when the backend has failed, in monotonic seconds."""
        failure = self.understood(raised, now)
        self.progress.usage = self.used_by_failure(failure, now) or UNUSED
        self.progress.ended_at = now
        return failure

    def at_work_until(self, now: float) -> float:
        """The last instant of its work, up to ``now``; both in monotonic seconds."""
        return min(now, self.progress.ended_at)

    def teach(self, used: Usage, parts: InputParts) -> None:
        """What this success tells of how much must be held for the next such call."""
        held = self.quote.input_held
        if held and used.input_tokens is not None and used.input_tokens > held:
            self.backend.learned.observe_input(self.call.model, parts, held, used.input_tokens)

    def with_time_seen(self, used: Usage, now: float) -> Usage:
        """What a success used until ``now``, in monotonic seconds: the time that was seen, where
        seconds are paid for or limited and nobody said how many there were."""
        if not self._lacks_times(used):
            return used
        return self._with_times(msgspec.structs.replace(used, reported=False), now)

    def _with_share(self, reported: Usage) -> Usage:
        if reported.gpu_s is not None or reported.exec_s is None:
            return reported
        share = self._share(reported.exec_s)
        return msgspec.structs.replace(reported, gpu_s=share)

    def used_until(self, now: float, reported: Usage | None, images: int) -> Usage:
        """What a call that was broken off at ``now`` used: what was reported, else what was seen.
        Of the images that it asked for, ``images`` or nobody knows how many (0), and of sound what
        it would have used, unless it had not begun."""
        seen = self._seen_until(now, reported)
        if not by_media(self.price) or self._has_not_begun(now):
            return seen
        return with_media(self.price, seen, len(self.call.body), self.call.task, images or 1)

    def _has_not_begun(self, now: float) -> bool:
        left = BackendError(FailureClass.CANCELLED, "")
        return self.understood(left, now).failure is FailureClass.NOT_STARTED

    def _seen_until(self, now: float, reported: Usage | None) -> Usage:
        seen = self._with_times(credible(reported or self.progress.seen, self), now)
        seen = self._counted(seen, self._probably_made(seen.exec_s or 0.0))
        stated = reported is not None and reported.reported
        return msgspec.structs.replace(seen, reported=stated)

    def _with_times(self, said: Usage, now: float) -> Usage:
        """With the times that were seen, where nobody said them."""
        queue_s, cold_s = self._waited_there()
        queue_s = queue_s if said.queue_s is None else said.queue_s
        cold_s = cold_s if said.cold_s is None else said.cold_s
        exec_s = said.exec_s
        if exec_s is None:
            exec_s = max(0.0, self.at_work_until(now) - self.asked_at - queue_s - cold_s)
        gpu_s = self._share(exec_s) if said.gpu_s is None else said.gpu_s
        return msgspec.structs.replace(
            said, queue_s=queue_s, cold_s=cold_s, exec_s=exec_s, gpu_s=gpu_s
        )

    def used_by_failure(self, failure: BackendError, now: float) -> Usage | None:
        """What is charged where it failed: what the platform reported, else what was seen, where it
        ran or may have run. A price by tokens, images, sound or the call is none of a call that
        brought nothing, whatever that says that it used, unless ``bills`` names failed ones."""
        if failure.failure is FailureClass.NOT_STARTED:
            return None
        used = self._used_by_failure(failure, now)
        if used is None or self.progress.events or self._owes_what_is_said:
            return used
        brings_nothing = self._is_timed and (by_tokens(self.price) or by_media(self.price))
        return _times_alone(used) if brings_nothing and used.cost_nano is None else used

    def _used_by_failure(self, failure: BackendError, now: float) -> Usage | None:
        if failure.usage is not None and self._is_paid(failure.usage, failure.ran):
            used = credible(failure.usage, self)
            if self._lacks_times(used) and failure.ran is not Ran.NO:
                return self._seen_until(now, used)
            return self._with_share(self._counted(used) if self.progress.events else used)
        if failure.ran is Ran.NO:
            return None
        if self._is_timed or self.progress.events:
            return self._seen_until(now, None)
        has_fee = self._bills_failed and self.price is not None and self.price.per_call is not None
        return UNUSED if has_fee else None

    def used_at_stop(self, reported: Usage) -> Usage | None:
        """What is charged of a call that was stopped after it failed, by what the platform says
        then."""
        if self.progress.events:
            return self.used(reported)
        if not self._is_paid(reported, Ran.YES):
            return None
        return self._with_share(credible(reported, self))

    def used_when_left(self, answer: Reply | None, now: float, images: int) -> Usage | None:
        """What is charged of a call that another backend was quicker with, at a monotonic instant:
        what an ``answer`` says that came all the same, else as of one that is broken off. Nothing
        of one that had not begun."""
        if answer is not None:
            return self.with_time_seen(self.used(answer.usage), now)
        return None if self._has_not_begun(now) else self.used_until(now, None, images)

    @property
    def _is_timed(self) -> bool:
        price = self.price
        return price is None or price.reserved or price.per_second is not None

    @property
    def _bills_failed(self) -> bool:
        return self.price is not None and "failed" in self.price.bills

    @property
    def _owes_what_is_said(self) -> bool:
        """What a failure says that it used is charged: a session says it of the answers that were
        passed on before its end."""
        return self._bills_failed or self.call.task == "realtime"

    def _lacks_times(self, used: Usage) -> bool:
        """Seconds are paid for, and nobody said how many there were."""
        untold = used.exec_s is used.gpu_s is used.cost_nano is None
        return untold and self._is_timed

    def _is_paid(self, used: Usage, ran: Ran) -> bool:
        """Whether a failed call's usage holds what the price is of: our own clock's seconds are
        nothing to one by tokens or by the call, nor where the call did not run."""
        if used.cost_nano is not None:
            return True
        if self._is_timed:
            return used.reported or ran is not Ran.NO
        if ran is Ran.NO or not self._owes_what_is_said:
            return False
        tokens = (used.input_tokens, used.output_tokens, used.total_tokens) != (None, None, None)
        media = not (used.images is used.audio_s is None)
        return (by_tokens(self.price) and tokens) or (by_media(self.price) and media)

    def _waited_there(self) -> tuple[float, float]:
        """Seconds that the call was seen to wait at the platform: in line, and for a start that
        was expected and is billed."""
        waited = max(0.0, self.call.progress.queued_until - self.asked_at)
        cold = min(waited, self.backend.billed_start_s) if self.lease.expected_cold else 0.0
        return waited - cold, cold

    def _counted(self, seen: Usage, made: int = 0) -> Usage:
        """With tokens as the gateway can count them, where nobody said how many there were."""
        return with_tokens(seen, self.call.body, self.call.task, self.progress.events or made)

    def _probably_made(self, exec_s: float) -> int:
        """Tokens of a whole answer that nobody waited for: what such calls write in that time, and
        no more than it might have."""
        if self.call.stream or not by_tokens(self.price):
            return 0
        rate = self.backend.learned.output_rate(self.call.model)
        return min(round(exec_s * rate), self.quote.output_held)

    def _share(self, exec_s: float) -> float:
        """Device seconds on a backend that states none: of a reserved machine what is this call's
        of the time in which it had calls; nothing where tokens are bought."""
        price = self.price
        if price is None or price.per_hour is not None:
            return exec_s * self.backend.share_of(self.lease)
        return exec_s if price.per_second is not None else 0.0
