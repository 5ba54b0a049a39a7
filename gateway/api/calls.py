"""From an HTTP request to a call and back: what the OpenAI and the native surface share."""

from __future__ import annotations

import asyncio

import msgspec

from adapters.types import Call, Task
from gateway.active_policy import NO_WISH, Preferences
from gateway.api.headers import decision_headers
from gateway.api.relay import Relay
from gateway.api.request import Receive, RequestContext, Send, respond_error
from gateway.calls.state import Arrival, CallState
from gateway.calls.stream import SettledStream
from gateway.policy.scalars import parse_nano_usd
from gateway.service import Gateway
from gateway.shared_timer import EVERY_S, SharedTimer
from gateway.tasks import take_back_cancellation
from gateway.types import ApiError, Priority

_PRIORITIES: dict[bytes, Priority] = {b"high": "high", b"normal": "normal", b"low": "low"}


class Watch:
    """Stops the exchange when its client hangs up."""

    def __init__(self, receive: Receive, exchange: CallState, rounds: SharedTimer) -> None:
        self._receive = receive
        self._exchange = exchange
        self._rounds = rounds
        self._since = exchange.arrival.received
        self._task: asyncio.Task[None] | None = None
        rounds.join(self, self._look)

    def _look(self, now: float) -> None:
        """A short call ends before anybody listens for its client: to listen costs a task."""
        if now - self._since >= EVERY_S:
            self._rounds.leave(self)
            self._task = asyncio.get_running_loop().create_task(self._listen())

    async def _listen(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._exchange.stop("disconnected")

    def end(self) -> None:
        self._rounds.leave(self)
        if self._task is not None:
            self._task.cancel()


def wish_of(visit: RequestContext, output_tokens: int) -> Preferences:
    """What the X-Spillgate headers ask for. Raises ApiError 400 for one that cannot be read."""
    headers = visit.headers
    asked = headers.get(b"x-spillgate-priority")
    ceiling = headers.get(b"x-spillgate-max-price")
    if asked is None and ceiling is None:
        return Preferences(None, None, output_tokens) if output_tokens else NO_OUTPUT
    return Preferences(_priority(asked), _max_price(ceiling), output_tokens)


NO_OUTPUT = msgspec.structs.replace(NO_WISH, output_tokens=0)


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


class ParsedRequest(msgspec.Struct, frozen=True):
    """A request that was read and understood."""

    model: str
    task: Task
    body: bytes
    stream: bool
    show_usage: bool
    output_tokens: int


async def serve(
    service: Gateway, visit: RequestContext, asked: ParsedRequest, receive: Receive, send: Send
) -> None:
    """Answers one call, and leaves nothing behind however it ends."""
    current = service.current
    arrival = Arrival(visit.principal, visit.received, visit.received_at)
    call = Call(
        id=visit.request_id,
        model=asked.model,
        task=asked.task,
        body=asked.body,
        stream=asked.stream,
        deadline=visit.received + current.longest(asked.model),
    )
    exchange = CallState(call, arrival, current.policy.version, service.loop)
    watch = Watch(receive, exchange, service.dispatcher.rounds)
    try:
        await _answer(service, visit, exchange, asked, send)
    except asyncio.CancelledError:
        if exchange.stop_cause != "disconnected":
            raise
        take_back_cancellation()
    finally:
        watch.end()
        if exchange.row is not None:
            service.access_log.add(exchange.row, len(exchange.attempts))


async def _answer(
    service: Gateway, visit: RequestContext, exchange: CallState, asked: ParsedRequest, send: Send
) -> None:
    wish = wish_of(visit, asked.output_tokens)
    try:
        answer = await service.dispatcher.ask(service.current, exchange, wish)
    except ApiError as error:
        await respond_error(send, visit, error, decision_headers(exchange))
        return
    relay, now = Relay(exchange, visit, send), service.clock.monotonic()
    if isinstance(answer, SettledStream):
        await relay.stream(answer, show_usage=asked.show_usage, now=now)
    else:
        await relay.whole(answer, now)
