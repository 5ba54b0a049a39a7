"""Sequences that advance together: admitted, stepped, separated when a step fails. Pure: the
clock is passed in, and nothing waits or is sent here."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable
from typing import Any

import msgspec

from local_runtime.app.runtime import Handler, Step, Stepper
from local_runtime.protocol.events import Done, Output
from local_runtime.worker.jobs import Job, Meter
from local_runtime.worker.requests import request_of
from local_runtime.worker.results import MAX_TOKENS, failed, item, logged, succeeded

Outcome = Step | BaseException | None
Raised = BaseException
"""What a model's code may raise at its own cost alone: an extension in Rust panics with one that
is no Exception."""


def make_stepper(handler: Handler, context: dict[str, Any], *model: Any) -> Stepper[Any]:
    """The stepper of a handler, or of its ``model``. Raises TypeError for one that is none,
    and what its own code raises."""
    stepper: Stepper[Any] = handler.function(context, *model)
    for name in ("admit", "step", "evict"):
        method = getattr(stepper, name, None)
        if not callable(method) or inspect.iscoroutinefunction(method):
            text = f"{type(stepper).__name__}.{name} must be a plain method, and not async"
            raise TypeError(text)
    return stepper


class Member:
    """One admitted sequence."""

    __slots__ = ("admitted", "job", "meter", "state", "streamed", "values")

    def __init__(self, job: Job, state: Any, meter: Meter, admitted: float) -> None:
        self.job = job
        self.state = state
        self.meter = meter
        self.admitted = admitted
        self.streamed = False
        """Its caller has had an item of the stream."""
        self.values: list[Any] = []
        """Its items, for a caller who takes them whole."""


class ContinuousBatch:
    """The sequences of one stepper. Every second of the stepper's is somebody's: a step's is shared
    by those who took part, an admission's or an eviction's is that sequence's own."""

    def __init__(self, stepper: Stepper[Any], *, retry: bool, clock: Callable[[], float]) -> None:
        self._stepper = stepper
        self._retry = retry
        self._clock = clock
        self.last_step_s = 0.0
        """What the last step took, retries included."""

    @property
    def now(self) -> float:
        """Seconds by its clock."""
        return self._clock()

    def admit(self, job: Job) -> Member | Done:
        """The call's sequence, or its end when it was not admitted."""
        begun, meter = self._clock(), job.meter or Meter()
        try:
            state = self._stepper.admit(request_of(job))
        except Raised as error:
            meter.took(self._clock() - begun, 1)
            return self._ended(logged(failed(job.run.id, error)), job, meter, begun)
        meter.took(self._clock() - begun, 1)
        return Member(job, state, meter, begun)

    def step(self, members: list[Member]) -> list[Outcome]:
        """One step of these together; where it raises and may be tried again, each once alone."""
        begun = self._clock()
        try:
            return self._together(members)
        except Raised as error:
            if not self._retry or len(members) == 1:
                return [error] * len(members)
            return [self._alone(member) for member in members]
        finally:
            self.last_step_s = self._clock() - begun

    def evict(self, member: Member) -> None:
        """It is under way no more. What the stepper raises here is logged: the call has its end."""
        begun = self._clock()
        try:
            self._stepper.evict(member.state)
        except Raised as error:
            logged(failed(member.job.run.id, error))
        member.meter.took(self._clock() - begun, 1)

    def end(self, member: Member, done: Done) -> Done:
        """Evicts the sequence: its last word, with what it used."""
        self.evict(member)
        return self._ended(logged(done), member.job, member.meter, member.admitted)

    def _ended(self, done: Done, job: Job, meter: Meter, begun: float) -> Done:
        waited, ran = max(0.0, begun - job.arrived), self._clock() - begun
        return meter.on(msgspec.structs.replace(done, queue_s=waited, exec_s=ran))

    def _together(self, members: list[Member]) -> list[Outcome]:
        begun, size = self._clock(), len(members)
        try:
            outcomes = self._stepper.step([member.state for member in members])
        finally:
            spent = self._clock() - begun
            for member in members:
                member.meter.took(spent, size)
        if not isinstance(outcomes, list | tuple) or len(outcomes) != size:
            # They have advanced, so it is no step to be tried again.
            return [_wrong_number(outcomes, size)] * size
        return list(outcomes)

    def _alone(self, member: Member) -> Outcome:
        if member.job.cancellation.is_set():
            return None
        try:
            return self._together([member])[0]
        except Raised as error:
            return error


def events_of(member: Member, outcome: Outcome, limit: int) -> tuple[list[Output], Done | None]:
    """What the caller gets of one step: items of a stream, and the end when it is one. ``limit``
    bounds an item, or a whole answer, in bytes of JSON."""
    outputs: list[Output] = []
    if outcome is None:
        return outputs, None
    id = member.job.run.id
    try:
        if not isinstance(outcome, Step):
            raise outcome if isinstance(outcome, BaseException) else _wrong_type(outcome)
        member.meter.count(_number(outcome.prompt_tokens), _number(outcome.completion_tokens))
        _stream(member, outcome, limit, outputs)
        return outputs, _whole(member, outcome, limit) if outcome.done else None
    except Raised as error:
        return outputs, failed(id, error)


def _stream(member: Member, step: Step, limit: int, outputs: list[Output]) -> None:
    """Into ``outputs``, which keeps what came before an item that cannot be sent."""
    if not member.job.run.stream:
        member.values += step.items
        return
    for value in step.items:
        output = item(member.job.run.id, value, limit)
        member.meter.count(output.input_tokens, output.output_tokens)
        outputs.append(output)
        member.streamed = True


def _whole(member: Member, step: Step, limit: int) -> Done:
    stream, id = member.job.run.stream, member.job.run.id
    if member.streamed or (stream and step.result is None):
        return Done(id, True)
    done = succeeded(id, member.values if step.result is None else step.result, limit)
    member.meter.count(done.input_tokens, done.output_tokens)
    return done


def _number(tokens: Any) -> int | None:
    """Of any integral type; others must not reach the wire. Raises TypeError and ValueError."""
    if tokens is None:
        return None
    if not 0 <= (number := operator.index(tokens)) <= MAX_TOKENS:
        raise ValueError(f"{number} is no number of tokens")
    return number


def _wrong_number(outcomes: Any, wanted: int) -> TypeError:
    got = len(outcomes) if isinstance(outcomes, list | tuple) else type(outcomes).__name__
    return TypeError(f"a step returns one outcome a sequence: {wanted}, got {got}")


def _wrong_type(outcome: Any) -> TypeError:
    return TypeError(f"an outcome is a Step, an exception or None, not {type(outcome).__name__}")
