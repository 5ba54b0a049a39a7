"""What the calls of one backend have taught: how long they run, how long a start takes, which of
its workers are warm, and how long it rests between calls."""

from __future__ import annotations

from collections.abc import Hashable

from adapters.errors import FailureClass, Ran
from adapters.types import Usage
from gateway.money.inputs import InputParts, LearnedInputs
from gateway.policy.model import BackendCommon
from gateway.routing.answer_times import AnswerTimes, Slowest
from gateway.routing.conversations import NOTHING_KEPT, Conversations, KeptPrefix, PromptReading
from gateway.routing.forecast import ColdTime, RunTime, WarmSet
from gateway.routing.gaps import GapHistory

COLD_FLOOR_S = 0.5
"""A shorter reported start-up is a warm hand-over, not a cold start."""
_IDLE_TIMEOUT_S = 60.0
_PREFETCH_S = 0.05
"""Work that an engine holds beside what it runs, so that it never waits for the next call."""
_DEEPEST = 500
_ALONE = 0.95
"""Share of a worker's seconds from which on calls count as run one by one."""
_TOKENS_PER_S = 50.0
"""Before the first answer: what one stream of a model of some 70 billion parameters writes."""
_BELIEVED_FOR = 2
"""Calls in a row that were not begun, from which on a platform is not believed that it has warm
workers: they may be no good, or another one's."""
_ALPHA = 0.1
"""Weight of the newest observation in a moving mean."""


class Learned:
    """Begins with what the policy foresees. Instants are monotonic seconds."""

    __slots__ = (
        "_answers",
        "_own_share",
        "_prior",
        "_rates",
        "_readings",
        "_runs",
        "_tells_causes",
        "_unbegun",
        "cold",
        "conversations",
        "depth",
        "gaps",
        "inputs",
        "used",
        "warm",
    )

    def __init__(self, common: BackendCommon) -> None:
        start, idle = common.cold_start, common.idle_timeout
        self.cold = ColdTime(start.p50, start.p95) if start else None
        """None of a backend that is always warm."""
        self.warm = WarmSet(_IDLE_TIMEOUT_S if idle is None else idle)
        self._unbegun = 0
        """Calls in a row that the platform has begun none of."""
        self._tells_causes = common.idle_paid_by == "to_cause"
        self.used: dict[str, float] | None = {} if common.idle_paid_by == "by_use" else None
        """Seconds of calls by user, since somebody has cleared it; None where nobody wants to know.
        """
        self.gaps = GapHistory()
        self._own_share = 0.0
        """Of a worker, while a call runs: a moving mean, 0 while nobody knows."""
        self.depth = _depth(common.expect, self._own_share)
        """Rounds of calls that are sent ahead."""
        self._prior = RunTime.prior(common.expect)
        self._runs: dict[str, RunTime] = {}
        self.inputs: dict[str, LearnedInputs] = {}
        """Of models whose calls had more input than was held for; nearly none do."""
        self._rates: dict[str, float] = {}
        self._answers: dict[str, AnswerTimes] = {}
        self._readings: dict[str, PromptReading] = {}
        self.conversations = Conversations()

    def run_time(self, model: str) -> RunTime:
        """How long calls of the model run."""
        return self._runs.get(model, self._prior)

    def start(self, now: float) -> bool:
        """A call goes to a worker; True where it will probably wait for a cold start."""
        return self.cold is not None and not self.warm.take(now)

    def end(self, now: float, user: str = "", seconds: float | None = None) -> None:
        """A worker ended a call of the user's, which was there for so long, and is warm; or a call
        of another process, of which neither is known."""
        if self.cold is not None:
            self.warm.give(now, user if self._tells_causes else "")
            if self.used is not None:
                seconds = self.run_time("").mean if seconds is None else seconds
                self.used[user] = self.used.get(user, 0.0) + seconds

    def slowest(self, model: str, output_tokens: int, body_bytes: int) -> Slowest:
        """What the slowest answers make plausible for a call of the model."""
        seen = self._answers.get(model)
        return Slowest() if seen is None else seen.slowest(output_tokens, body_bytes)

    def observe_answer(
        self, model: str, seconds: float, output_tokens: int | None, body_bytes: int
    ) -> None:
        """A call of the model was answered after so many seconds at the backend."""
        seen = self._answers.get(model)
        if seen is None:
            seen = self._answers[model] = AnswerTimes()
        seen.observe(seconds, output_tokens or 0, body_bytes)

    def observe_success(
        self,
        model: str,
        usage: Usage,
        now: float,
        *,
        seconds: float,
        body_bytes: int,
        expected_cold: bool,
    ) -> None:
        """A call of the model succeeded, so many seconds after it was sent."""
        ran_s, tokens = usage.exec_s, usage.output_tokens
        if ran_s is not None:
            if usage.gpu_s is not None and ran_s:
                share = usage.gpu_s / ran_s
                before = self._own_share or share
                self._own_share = before + _ALPHA * (share - before)
            self.observe_run(model, ran_s)
            if tokens and ran_s > 0:
                rates, seen = self._rates, tokens / ran_s
                rate = rates.get(model, seen)
                rates[model] = rate + _ALPHA * (seen - rate)
        self.observe_answer(model, seconds, tokens, body_bytes)
        if self.cold is not None:
            self._unbegun = 0
            start_s = (usage.cold_s or 0.0) - (usage.load_s or 0.0)
            self.observe_start(start_s, now, expected=expected_cold)

    def observe_failure(self, failure: FailureClass, seconds: float, now: float) -> None:
        """A call failed so many seconds after it was sent."""
        if failure.ran is Ran.YES:
            self._unbegun = 0
        if failure is FailureClass.UNREACHABLE:
            self.warm.clear(now)
        elif failure is FailureClass.NOT_STARTED:
            self._observe_no_start(seconds, now)

    def observe_run(self, model: str, seconds: float) -> None:
        """A call of the model ran for so long."""
        run = self._runs[model] = self._runs.get(model, self._prior).observe(seconds)
        self.depth = _depth(run.mean, self._own_share)

    def foresee_one_by_one(self) -> None:
        """The backend says that its workers run calls one by one: as long as nothing else is seen,
        that holds."""
        if not self._own_share:
            self._own_share = 1.0
            self.depth = _depth(self._prior.mean, self._own_share)

    def output_rate(self, model: str) -> float:
        """Tokens a second that a call of the model writes."""
        return self._rates.get(model, _TOKENS_PER_S)

    def more_input(self, model: str, parts: InputParts) -> int:
        """Tokens of input to hold for a call of the model beside what is declared."""
        learned = self.inputs.get(model)
        return 0 if learned is None else learned.tokens(parts)

    def observe_input(self, model: str, parts: InputParts, held: int, used: int) -> None:
        """A call for whose input ``held`` tokens were held had ``used`` of them, which is more."""
        self.inputs.setdefault(model, LearnedInputs()).learn(parts, held, used)

    def kept(self, model: str, conversation: Hashable, now: float, most: int) -> KeptPrefix:
        """What should be there of a conversation, as far as the engine's own counts bear it out.
        ``most``: tokens that a call's text can be."""
        reading = self._readings.get(model)
        if reading is None:
            return NOTHING_KEPT
        tokens = min(self.conversations.tokens((model, conversation), now), most)
        return KeptPrefix(round(tokens * reading.share), reading.seconds_per_token)

    def observe_turn(self, model: str, conversation: Hashable, usage: Usage, now: float) -> None:
        """A call of a conversation was answered here: what the engine says that it has read."""
        if usage.input_tokens is None:
            return
        reading = self._readings.setdefault(model, PromptReading())
        name, written = (model, conversation), usage.output_tokens or 0
        cached = 0 if usage.parts is None else min(usage.parts.cached, usage.input_tokens)
        expected = min(self.conversations.tokens(name, now), usage.input_tokens)
        reading.observe_kept(expected, cached)
        if usage.exec_s is not None:
            reading.observe_run(usage.input_tokens - cached, written, usage.exec_s)
        self.conversations.note(name, usage.input_tokens + written, now)

    def observe_start(self, seconds: float, now: float, *, expected: bool) -> None:
        """A call waited so long for a worker's start."""
        if self.cold is None or seconds < COLD_FLOOR_S:
            return
        self.cold.observe(seconds)
        if not expected:
            # The platform took down workers that were believed warm.
            self.warm.clear(now)

    def _observe_no_start(self, seconds: float, now: float) -> None:
        """It was given up before any worker had begun it: none was warm, and a start takes longer
        than that."""
        self._unbegun += 1
        self.warm.clear(now)
        if self.cold is not None and seconds > self.cold.p95:
            self.cold.observe(seconds)

    @property
    def begins(self) -> bool:
        """It may be believed where it says that it has workers: calls have begun there of late."""
        return self._unbegun < _BELIEVED_FOR

    def observe_warm(self, workers: int, now: float, *, idle: bool) -> None:
        """The backend says how many of its workers are warm; ``idle``: no call is there. Its word
        beats what was believed."""
        if self.cold is None:
            return
        if workers == 0:
            self.warm.clear(now)
        elif idle and not self.warm.idle(now):
            self.warm.give(now)


def _depth(run_s: float, own_share: float) -> int:
    """Rounds of calls that are sent ahead, so that no worker waits for its next call: many of short
    ones, and of long ones none, for a call that is sent can go nowhere else any more. Where calls
    run together, or nobody knows, one more, of which the next batch is made."""
    rounds = 1 if own_share >= _ALONE else 2
    if run_s * _DEEPEST <= _PREFETCH_S:
        return rounds + _DEEPEST
    return rounds + int(_PREFETCH_S / run_s)
