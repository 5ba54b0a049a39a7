"""From an HTTP request to a call and back: what the OpenAI and the native surface share."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, MutableMapping
from typing import Any

import msgspec

from adapters.types import ANY_IMAGE, JSON_TYPE, Call
from gateway.active_policy import ActivePolicy
from gateway.api.answers.headers import decision_headers
from gateway.api.answers.job_answers import (
    IDEMPOTENCY_KEY,
    PREFER,
    answer_by_job,
    becomes_job,
    prefers_job,
)
from gateway.api.answers.kept_streams import answer_kept
from gateway.api.answers.progress import progress_of, wants_progress
from gateway.api.answers.refused import log_refused
from gateway.api.answers.relay import Relay, WaitingStream, fail_stream
from gateway.api.requests.request import ParsedRequest, Receive, RequestContext, Send, respond_error
from gateway.api.requests.sessions import names_none, session_in
from gateway.api.requests.tags import tags_of
from gateway.calls.answer_limit import CallPatience
from gateway.calls.dispatcher import Answer, Dispatcher
from gateway.calls.refusals import shutting_down
from gateway.calls.state import CallState
from gateway.calls.stream import SettledStream
from gateway.clock import Clock, Timer
from gateway.files.inputs import MARK, SIGN, FileInputs
from gateway.money.inputs import TEXT_ALONE, InputParts
from gateway.money.limits import is_own_budget, is_shown
from gateway.policy.syntax.scalars import parse_nano_usd
from gateway.preferences import NO_PREFERENCES, Preferences
from gateway.service import Gateway
from gateway.shared_timer import EVERY_S
from gateway.storage.base import StorageUnavailable
from gateway.streams.keeping import Answer as KeptAnswer
from gateway.tasks import take_back_cancellation
from gateway.types import ApiError, Priority

_PRIORITIES: dict[bytes, Priority] = {b"high": "high", b"normal": "normal", b"low": "low"}
_PRIORITY, _CEILING = b"x-spillgate-priority", b"x-spillgate-max-price"
_WISHES = frozenset((_PRIORITY, _CEILING))
_NO_TAGS: Mapping[str, str] = {}
_GRACE_S = 1.0
"""Whoever waits for a backend sees first that its time is up, and says so better."""


class Watch(msgspec.Struct, eq=False):
    """Stops a call when its client hangs up, or when it has had its time: whoever reads from a
    backend looks at the time as well, but nobody does while a client does not take what is there.
    Until the answer has begun it looks whether the backend is to be left for another one.
    Whoever makes it has ``look`` called by the timer.
    """

    _receive: Receive
    _state: CallState
    _dispatcher: Dispatcher
    _clock: Clock
    waiting: WaitingStream | None
    _active: ActivePolicy
    _patience: CallPatience | None = None
    _late: Timer | None = None
    _task: asyncio.Task[None] | None = None

    def look(self, now: float) -> None:
        """A short call ends before anybody listens for its client: to listen costs a task."""
        if now - self._state.received >= EVERY_S:
            self._dispatcher.timer.unwatch(self)
            self._patience = self._dispatcher.patience(self._active, self._state)
            self._task = asyncio.get_running_loop().create_task(self._listen())
            self._look_at_time()
            if self.waiting is not None:
                self.waiting.begin()

    async def answered(self) -> None:
        """Its client is told no more that it waits."""
        waiting, self.waiting = self.waiting, None
        if waiting is not None:
            await waiting.end()

    async def _listen(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        if not self._active.finishes(self._state.route):
            self._state.stop("disconnected")

    def _look_at_time(self) -> None:
        state, now = self._state, self._clock.monotonic()
        left_s = state.must_end_at + _GRACE_S - now
        if left_s <= 0:
            state.stop("timeout" if state.has_begun else "waited")
        elif self._patience is not None:
            left_s = min(left_s, self._patience.look(now))
            self._late = self._clock.call_later(left_s, self._look_at_time)

    def end(self) -> None:
        """Stops listening."""
        self._dispatcher.timer.unwatch(self)
        if self.waiting is not None:
            self.waiting.stop()
        if self._late is not None:
            self._late.cancel()
        task, self._task = self._task, None
        if task is not None:  # kept, it would hold its frame, which holds this: a cycle a call
            task.cancel()


def preferences_of(
    context: RequestContext,
    output_tokens: int,
    unbounded: int = 0,
    parts: InputParts = TEXT_ALONE,
) -> Preferences:
    """What the X-Spillgate headers ask for. Raises ApiError 400 for one that cannot be read."""
    headers = context.headers
    priority, ceiling = headers.get(_PRIORITY), headers.get(_CEILING)
    if priority is None and ceiling is None:
        if not output_tokens:
            return NO_OUTPUT
        return Preferences(None, None, output_tokens, unbounded, parts)
    return Preferences(_priority(priority), _max_price(ceiling), output_tokens, unbounded, parts)


NO_OUTPUT = msgspec.structs.replace(NO_PREFERENCES, output_tokens=0)


def _priority(value: bytes | None) -> Priority | None:
    if value is None:
        return None
    found = _PRIORITIES.get(value.strip().lower())
    if found is None:
        raise ApiError(
            400,
            "invalid_header",
            "X-Spillgate-Priority must be high, normal or low.",
            param="X-Spillgate-Priority",
        )
    return found


def _max_price(value: bytes | None) -> int | None:
    if value is None:
        return None
    try:
        return parse_nano_usd(value.decode("latin-1").strip())
    except ValueError:
        raise ApiError(
            400,
            "invalid_header",
            "X-Spillgate-Max-Price must be an amount in US dollars, such as 0.002.",
            param="X-Spillgate-Max-Price",
        ) from None


def all_preferences(
    gateway: Gateway,
    context: RequestContext,
    parsed: ParsedRequest,
    named: Mapping[str, str] = _NO_TAGS,
) -> Preferences:
    """What the request asks for beside its call, with the tags that it gives it; ``named``: those
    that stand beside the call's own body. Raises ApiError 400 for what cannot be read."""
    output, unbounded, parts = parsed.output_tokens, parsed.unbounded, parsed.parts
    if not output or not _WISHES.isdisjoint(context.headers):
        preferences = preferences_of(context, output, unbounded, parts)
    else:
        preferences = Preferences(None, None, output, unbounded, parts)
    if parsed.images or parsed.image is not ANY_IMAGE:
        wanted, kind = parsed.images, parsed.image
        preferences = msgspec.structs.replace(preferences, images=wanted, image=kind)
    active = gateway.active
    if parsed.model in active.demands.models:
        needs = active.demands.needs(parsed, parsed.abilities)
        preferences = msgspec.structs.replace(preferences, needs=needs)
    if active.takes_tags or named:
        taken = active.policy.tags
        tags = tags_of(taken, gateway.tag_values, context, parsed.body, parsed.task, named)
        preferences = msgspec.structs.replace(preferences, tags=tags)
    if parsed.session or not names_none(context.headers):
        session = session_in(context.headers) or parsed.session
        preferences = msgspec.structs.replace(preferences, session=session)
    if active.caller_regions is not None:
        region = active.caller_regions.region(context.client, context.headers)
        preferences = msgspec.structs.replace(preferences, region=region)
    return preferences


def serve(
    gateway: Gateway, context: RequestContext, parsed: ParsedRequest, receive: Receive, send: Send
) -> Coroutine[Any, Any, object]:
    """Answers one call, and leaves nothing behind however it ends. Raises ApiError 400 for headers
    that cannot be read, and CancelledError when the server ends; that of a client who hung up is
    taken back."""
    active = gateway.active
    preferences = all_preferences(gateway, context, parsed)
    given = context.headers
    if (PREFER in given or IDEMPOTENCY_KEY in given) and becomes_job(context):
        if parsed.stream and prefers_job(context) is None:
            by_itself = kept_call(gateway, context, parsed, preferences)
            return answer_kept(gateway, context, parsed, by_itself, receive, send)
        return answer_by_job(gateway, context, parsed, preferences, send)
    waiting = WaitingStream(context, send, gateway.clock, active.policy) if parsed.stream else None
    return _serve(gateway, context, parsed, preferences, receive, send, waiting)


class _NothingAsked(asyncio.CancelledError):
    """Raised where the server ends before any backend had a slot for the call."""


def kept_call(
    gateway: Gateway, context: RequestContext, parsed: ParsedRequest, preferences: Preferences
) -> KeptAnswer:
    """The call, which nobody's hanging up ends: whoever sends it again may want it."""

    async def answer(record: Send) -> bool:
        own = context.again()
        try:
            state = await _serve(gateway, own, parsed, preferences, _nobody, record, None)
        except _NothingAsked:  # whoever was told of it sends it again, to another gateway
            take_back_cancellation()
            return False
        except ApiError as error:  # of what it refers to: nobody was asked
            await respond_error(record, own, error)
            return False
        return state.ending is not None or state.job is not None

    return answer


async def _nobody() -> MutableMapping[str, Any]:
    """A client that never hangs up."""
    return await asyncio.get_running_loop().create_future()  # type: ignore[no-any-return]


async def _with_files(
    gateway: Gateway,
    inputs: FileInputs,
    context: RequestContext,
    parsed: ParsedRequest,
    preferences: Preferences,
) -> tuple[ParsedRequest, Preferences]:
    """With the files that its body names, and what it holds and needs then. Raises ApiError."""
    body = await inputs.resolved(context.principal, parsed.body)
    parsed = msgspec.structs.replace(parsed, body=body, parts=inputs.parts(parsed.task, body))
    preferences = msgspec.structs.replace(preferences, parts=parsed.parts)
    demands = gateway.active.demands
    if parsed.model in demands.models:
        needs = demands.needs(parsed, parsed.abilities)
        preferences = msgspec.structs.replace(preferences, needs=needs)
    return parsed, preferences


async def _serve(
    gateway: Gateway,
    context: RequestContext,
    parsed: ParsedRequest,
    preferences: Preferences,
    receive: Receive,
    send: Send,
    waiting: WaitingStream | None,
) -> CallState:
    """The call as it has ended."""
    inputs = gateway.file_inputs
    find = parsed.body.find
    if inputs is not None and find(SIGN) >= 0 <= find(MARK) and parsed.content_type == JSON_TYPE:
        parsed, preferences = await _with_files(gateway, inputs, context, parsed, preferences)
    active = gateway.active.of(context.principal.user)
    call = Call(
        id=context.request_id,
        model=parsed.model,
        task=parsed.task,
        body=parsed.body,
        stream=parsed.stream,
        content_type=parsed.content_type,
        declared=parsed.declared,
        betas=parsed.betas,
        shown=parsed.shown,
        deadline=context.received + (times := active.times(parsed.model))[0],
    )
    state = CallState(
        call,
        parsed.model,
        context.principal,
        preferences,
        context.received,
        context.received_at,
        active.policy.version,
        asyncio.current_task(gateway.loop),  # to ask which loop runs is a system call
        may_wait_s=times[1],
    )
    if waiting is not None and wants_progress(context):
        waiting.says = lambda: progress_of(state, gateway.clock.monotonic())
    watch = Watch(receive, state, gateway.dispatcher, gateway.clock, waiting, active)
    gateway.dispatcher.timer.watch(watch, watch.look)
    try:
        await _answer(gateway, active, context, state, parsed, send, watch)
    except asyncio.CancelledError:
        if state.stop_cause != "disconnected":
            await watch.answered()
            if not context.begun and not (receive is _nobody and state.has_begun):  # it is cut
                await respond_error(send, context, shutting_down(), decision_headers(state))
            if not state.has_begun:
                raise _NothingAsked from None
            raise
        take_back_cancellation()
    finally:
        watch.end()
        if state.job is None:
            gateway.log_ending(state)
        else:
            state.job.add_done_callback(lambda _: gateway.log_ending(state))
    return state


async def _answer(
    gateway: Gateway,
    active: ActivePolicy,
    context: RequestContext,
    state: CallState,
    parsed: ParsedRequest,
    send: Send,
    watch: Watch,
) -> None:
    try:
        answer = await gateway.dispatcher.ask(active, state)
    except ApiError as error:
        await watch.answered()
        if state.ending is None and state.job is None:
            log_refused(gateway, context, error, parsed.model)
        if context.begun:
            await fail_stream(send, error, context)
        else:
            await respond_error(send, context, error, decision_headers(state))
        return
    if gateway.active.policy.limits.show_left:
        await _look_left(gateway, state, answer)
    relay = Relay(state, context, send, gateway.dispatcher.slow_clients)
    now = gateway.clock.monotonic()
    if watch.waiting is not None:
        await _said(watch, answer)
    if isinstance(answer, SettledStream):
        await relay.stream(answer, show_usage=parsed.show_usage, now=now)
    else:
        await relay.whole(answer, now)


async def _said(watch: Watch, answer: Answer) -> None:
    try:
        await watch.answered()
    except BaseException:
        if isinstance(answer, SettledStream):
            await answer.abandon()
        raise


async def _look_left(gateway: Gateway, state: CallState, answer: Answer) -> None:
    """What the answer will say of its caller's own budgets; nothing while the store is silent."""
    claims = [
        claim
        for claim in state.admission.claims
        if is_own_budget(claim) and is_shown(claim, state.principal)
    ]
    try:
        if claims:
            state.left = await gateway.shared.statuses(claims)
    except StorageUnavailable:
        return
    except BaseException:
        if isinstance(answer, SettledStream):
            await answer.abandon()
        raise
