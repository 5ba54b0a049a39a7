"""Streams that their callers have named: asked for once, and told from their start to whoever sends
the same request again."""

from __future__ import annotations

import asyncio

from gateway.api.answers.job_answers import idempotency_key
from gateway.api.answers.relay import WAITING, begin_stream, fail_stream
from gateway.api.requests.request import (
    Header,
    ParsedRequest,
    Receive,
    RequestContext,
    Send,
    respond_error,
)
from gateway.calls.stream_events import whole_event
from gateway.jobs.accepting import key_reused, request_name
from gateway.jobs.digests import request_digests
from gateway.service import Gateway
from gateway.storage.streams.base import NewStream, StreamsFull
from gateway.streams.keeping import LEASE_S, Answer, KeptStreams, NameTaken
from gateway.streams.recording import AnswerHead, Followed
from gateway.types import ApiError

KEEP_S = 86_400.0
_OFTEN_S = 3600.0
_EVENTS = "text/event-stream"


async def answer_kept(
    gateway: Gateway,
    context: RequestContext,
    parsed: ParsedRequest,
    answer: Answer,
    receive: Receive,
    send: Send,
) -> None:
    """``answer`` makes the call where the name is new. Raises ApiError: 409 where it is another
    request's, 410 where its answer was too long, 429 where too much is kept of its user's."""
    streams = _streams_of(gateway)
    digest, *older = request_digests(
        parsed.task, parsed.model, parsed.body, parsed.sent, betas=parsed.betas
    )
    new = NewStream(
        id=context.request_id,
        name=request_name(context.principal.key_id, idempotency_key(context)),
        digest=digest,
        older=tuple(older),
        user=context.principal.user,
        keep_s=KEEP_S,
        lease_s=LEASE_S,
        most_bytes=gateway.active.policy.jobs.streams,
    )
    if not idempotency_key(context):
        raise _no_key()
    followed, is_first = await _opened(streams, new, answer)
    telling = _Telling(gateway, context, send, followed, is_first)
    try:
        await _until_gone(telling, receive)
    finally:
        followed.leave()


def _streams_of(gateway: Gateway) -> KeptStreams:
    if gateway.streams is None:
        raise ApiError(
            501, "no_streams", "This gateway has no store for streams.", type="api_error"
        )
    return gateway.streams


async def _opened(streams: KeptStreams, new: NewStream, answer: Answer) -> tuple[Followed, bool]:
    try:
        return await streams.open(new, answer)
    except NameTaken as taken:
        raise (_not_kept() if taken.same else key_reused(taken.id, "Idempotency-Key")) from None
    except StreamsFull:
        raise _full(new) from None


async def _until_gone(telling: _Telling, receive: Receive) -> None:
    """To the end, or until the client has hung up."""
    told = asyncio.ensure_future(telling.run())
    gone = asyncio.ensure_future(_hung_up(receive))
    try:
        await asyncio.wait((told, gone), return_when=asyncio.FIRST_COMPLETED)
    finally:
        gone.cancel()
        if not told.done():
            told.cancel()
        await asyncio.wait((told, gone))
    if not told.cancelled():
        told.result()


async def _hung_up(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class _Telling:
    """One caller, and what it is told."""

    def __init__(
        self,
        gateway: Gateway,
        context: RequestContext,
        send: Send,
        followed: Followed,
        is_first: bool,
    ) -> None:
        self._context = context
        self._send = send
        self._followed = followed
        self._is_first = is_first
        self._comment_s = gateway.active.policy.server.stream_comment or _OFTEN_S
        self._comments = bool(gateway.active.policy.server.stream_comment)
        self._late = False
        """Comments have begun its stream, so that it can have no other head."""
        self._whole = b""
        """What has come of an answer that is no stream, where that is so."""

    async def run(self) -> None:
        """Raises ApiError where nothing has begun, and nothing can be told."""
        followed = self._followed
        while True:
            over = followed.state != "running"
            await self._pass_on(followed.take())
            if over:
                await self._end()
                return
            if not await followed.wait(self._comment_s) and self._comments:
                await self._comment()

    async def _pass_on(self, data: bytes) -> None:
        head = self._followed.head
        if head is None:
            return
        if not self._context.begun:
            await self._begin(head)
        if self._late and not head.header("content-type").startswith(_EVENTS):
            self._whole += data
        elif data:
            await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def _begin(self, head: AnswerHead) -> None:
        self._context.begun = True
        headers: list[Header] = [
            (name.encode("latin-1"), value.encode("latin-1"))
            for name, value in head.headers
            if name != "x-request-id"
        ]
        headers.append((b"x-request-id", self._context.request_id.encode()))
        if not self._is_first:
            headers.append((b"idempotent-replayed", b"true"))
        start = {"type": "http.response.start", "status": head.status, "headers": headers}
        await self._send(start)

    async def _comment(self) -> None:
        if not self._context.begun:
            self._late = True
            await begin_stream(self._context, self._send, [])
        head = self._followed.head
        if self._late or head is None or head.header("content-type").startswith(_EVENTS):
            await self._send({"type": "http.response.body", "body": WAITING, "more_body": True})

    async def _end(self) -> None:
        state, head = self._followed.state, self._followed.head
        if state in ("ended", "broken") and head is not None:
            body = self._whole and _as_event(head, self._whole)
            more = None if state == "broken" else False
            await self._send({"type": "http.response.body", "body": body, "more_body": more})
            return
        error = _not_kept() if state == "large" else _cut()
        if self._context.begun:
            await fail_stream(self._send, error, self._context)
        else:
            await respond_error(self._send, self._context, error)


def _as_event(head: AnswerHead, body: bytes) -> bytes:
    """A whole answer, for whoever has a stream already: an error has no end marker."""
    return whole_event(body) if head.status < 400 else b"data: " + body + b"\n\n"


def _no_key() -> ApiError:
    return ApiError(
        400,
        "invalid_idempotency_key",
        "Idempotency-Key is empty: give it up to 255 printable characters, such as a UUID.",
        param="Idempotency-Key",
    )


def _full(new: NewStream) -> ApiError:
    return ApiError(
        429,
        "too_many_kept_streams",
        f"Kept streams of {new.user} take more than {new.most_bytes:,} bytes already, so no other "
        "one is kept until some are a day old. Nothing was asked: leave Idempotency-Key out, or "
        "`stream`.",
        type="rate_limit_error",
        headers={"Retry-After": "60"},
    )


def _not_kept() -> ApiError:
    return ApiError(
        410,
        "stream_not_kept",
        "This stream was made, and charged, and was too long to be kept: it cannot be told again. "
        "Another Idempotency-Key makes it once more.",
        headers={"x-should-retry": "false"},
    )


def _cut() -> ApiError:
    return ApiError(
        502,
        "interrupted",
        "The gateway ended while this stream ran, and what came of it was told as far as it is "
        "known. It was not asked for again; another Idempotency-Key does that.",
        type="api_error",
        headers={"x-should-retry": "false"},
    )
