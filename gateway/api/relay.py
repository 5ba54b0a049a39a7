"""The bridge: an answer to the client's socket, whole or as it comes, and never cut in silence."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec

from adapters.errors import BackendError
from adapters.types import Chunk, Usage
from gateway.api.request import Header, RequestContext, Send, respond
from gateway.backends.redaction import StreamRedactor
from gateway.calls.dispatcher import Answer, Dispatcher
from gateway.calls.refusals import budget_reached, refusal_of
from gateway.calls.state import CallState
from gateway.money.limits import rate_limit_headers
from gateway.money.pricing import usd
from gateway.types import NANO, ApiError

_EVENT_STREAM: Header = (b"content-type", b"text/event-stream; charset=utf-8")
_SHUTTING_DOWN = ApiError(
    503,
    "shutting_down",
    "The gateway is shutting down; the answer is not complete.",
    type="api_error",
)


def decision_headers(exchange: CallState) -> list[Header]:
    """What decided the call, for successes and failures alike."""
    headers: list[Header] = []
    if exchange.standing is not None:
        headers.append((b"x-spillgate-backend", exchange.standing.name.encode()))
        headers.append((b"x-spillgate-reason", exchange.reason.encode()))
    if exchange.admitted is not None:
        headers.extend(rate_limit_headers(exchange.admitted))
    if exchange.row is not None:
        headers.append((b"x-spillgate-cost", usd(exchange.cost_nano).encode()))
    return headers


def _timing(exchange: CallState, usage: Usage, now: float) -> Header:
    """Server-Timing in milliseconds; ``gateway`` is all that was not the backend's."""
    gateway_s = max(0.0, now - exchange.arrival.received - exchange.answered_s)
    queue_s = (usage.queue_s or 0.0) + exchange.waited_s
    text = (
        f"gateway;dur={gateway_s * 1000:.3f}, queue;dur={queue_s * 1000:.3f}, "
        f"cold;dur={(usage.cold_s or 0.0) * 1000:.3f}, exec;dur={(usage.exec_s or 0.0) * 1000:.3f}"
    )
    return b"server-timing", text.encode()


class Relay:
    """Carries one call's answer to one client."""

    def __init__(
        self, *, dispatcher: Dispatcher, exchange: CallState, visit: RequestContext, send: Send
    ) -> None:
        self._ends = dispatcher.ends
        self._exchange = exchange
        self._visit = visit
        self._send = send
        self._veil: StreamRedactor

    async def whole(self, answer: Answer, now: float) -> None:
        """A settled answer; its cost is known."""
        reply, exchange = answer.reply, self._exchange
        headers = decision_headers(exchange)
        headers.append((b"content-type", reply.content_type.encode()))
        headers.append(_timing(exchange, reply.usage, now))
        await respond(self._send, self._visit, 200, reply.body, headers)

    async def stream(self, answer: Answer, *, show_usage: bool, now: float) -> None:
        """Passes chunks on as they come. The end marker follows only a settled call; a break
        ends in an error event and no end marker."""
        exchange, chunks = self._exchange, answer.reply.chunks
        assert chunks is not None
        exchange.answered_s = now - exchange.asked_at
        assert exchange.standing is not None
        self._veil = exchange.standing.veil.over_stream()
        try:
            await self._begin(exchange, answer, now)
            held = await self._pass_on(answer.first, chunks)
            await self._ends.finish(exchange, exchange.progress.usage or answer.reply.usage)
        except BackendError as failure:
            await self._ends.fail(exchange, failure)
            await self._break_off(refusal_of(failure, exchange.tried), show_usage)
        except ApiError as error:
            await self._break_off(error, show_usage)
        except asyncio.CancelledError:
            await self._ends.abandon_shielded(exchange)
            await self._cancelled(show_usage)
        except Exception:
            await self._ends.abandon_broken(exchange)
            raise
        else:
            await self._end(held, show_usage=show_usage)
        finally:
            await _close(chunks)

    async def _begin(self, exchange: CallState, answer: Answer, now: float) -> None:
        self._visit.begun = True
        headers = decision_headers(exchange)
        headers += [
            _EVENT_STREAM,
            (b"cache-control", b"no-store"),
            (b"x-accel-buffering", b"no"),
            (b"x-request-id", self._visit.request_id.encode()),
            _timing(exchange, answer.reply.usage, now),
        ]
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})

    async def _pass_on(self, first: Chunk | None, chunks: AsyncIterator[Chunk]) -> list[Chunk]:
        """Sends data, keeps back usage and the end marker until the call is settled."""
        held: list[Chunk] = []
        progress, send, veil = self._exchange.progress, self._send, self._veil
        if first is not None:
            await self._take(first, held)
        async for chunk in chunks:
            if chunk.kind == "data" and chunk.usage is None:
                data = chunk.data
                progress.events += data.count(b"\n\n")
                await send({"type": "http.response.body", "body": veil(data), "more_body": True})
            else:
                await self._take(chunk, held)
        return held

    async def _take(self, chunk: Chunk, held: list[Chunk]) -> None:
        progress = self._exchange.progress
        if chunk.usage is not None:
            progress.usage = chunk.usage
        if chunk.kind == "data":
            progress.events += chunk.data.count(b"\n\n")
            data = self._veil(chunk.data)
            await self._send({"type": "http.response.body", "body": data, "more_body": True})
        else:
            held.append(chunk)

    async def _end(self, held: list[Chunk], *, show_usage: bool) -> None:
        usage_events = [chunk for chunk in held if chunk.kind == "usage"]
        parts = []
        if show_usage:
            parts = [_priced(chunk.data, self._exchange.cost_nano) for chunk in usage_events]
            if not usage_events:
                parts.append(_usage_event(self._exchange))
        parts += [chunk.data for chunk in held if chunk.kind == "done"]
        veil = self._veil
        body = veil(b"".join(parts)) + veil.rest()
        await self._send({"type": "http.response.body", "body": body})

    async def _break_off(self, error: ApiError, show_usage: bool) -> None:
        body = error.body()
        if show_usage:
            body["usage"] = {"cost": self._exchange.cost_nano / NANO}
        event = b"data: " + msgspec.json.encode(body) + b"\n\n"
        await self._send({"type": "http.response.body", "body": self._veil.rest() + event})

    async def _cancelled(self, show_usage: bool) -> None:
        """The exchange was stopped, or the server ends: say so where somebody still listens."""
        cause = self._exchange.stop_cause
        if cause == "disconnected":
            raise asyncio.CancelledError
        why = budget_reached() if cause == "budget" else _SHUTTING_DOWN
        await self._break_off(why, show_usage)
        if not cause:
            raise asyncio.CancelledError
        task = asyncio.current_task()
        if task is not None:
            task.uncancel()


async def _close(chunks: AsyncIterator[Chunk]) -> None:
    aclose: Any = getattr(chunks, "aclose", None)
    if aclose is not None:
        await aclose()


def _priced(event: bytes, cost_nano: int) -> bytes:
    """Adds the cost to an event's ``usage``; an event that cannot be read is passed as it is."""
    payload = event.strip().removeprefix(b"data:").strip()
    try:
        value = msgspec.json.decode(payload)
        value["usage"]["cost"] = cost_nano / NANO
    except (msgspec.DecodeError, KeyError, TypeError):
        return event
    return b"data: " + msgspec.json.encode(value) + b"\n\n"


def _usage_event(exchange: CallState) -> bytes:
    """The usage event that a caller asked for and the backend did not send by itself; empty
    where nobody knows the tokens."""
    usage = exchange.progress.usage
    if usage is None or usage.input_tokens is None or usage.output_tokens is None:
        return b""
    kind = "chat.completion.chunk" if exchange.call.task == "chat" else "text_completion"
    value = {
        "id": exchange.call.id,
        "object": kind,
        "created": int(exchange.arrival.received_at),
        "model": exchange.call.model,
        "choices": [],
        "usage": {
            "prompt_tokens": usage.input_tokens,
            "completion_tokens": usage.output_tokens,
            "total_tokens": usage.input_tokens + usage.output_tokens,
            "cost": exchange.cost_nano / NANO,
        },
    }
    return b"data: " + msgspec.json.encode(value) + b"\n\n"
