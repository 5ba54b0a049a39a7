"""Calls in OpenAI's shapes over one client: what is sent, and what comes back as an answer.

A body goes through byte for byte, unless the upstream knows the model by another name or usage
has to be asked for. Assumptions, since servers differ: a clean end without ``[DONE]`` is an end
only after a finish_reason; a stream without one event is a failure (llama.cpp answers a context
overflow so).

Source: https://platform.openai.com/docs/api-reference
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from adapters.base import Clock, Push
from adapters.errors import BackendError, malformed, takes_no
from adapters.http.answers import answer_in, check_output, plain_answer, with_usage_told
from adapters.http.api import Api
from adapters.http.chunks import END_GRACE_S, ReadyChunks
from adapters.http.failures import asked_by, cleaned
from adapters.http.opened import are_events, as_chunks, as_one_event, each, rest_of, start_of
from adapters.http.response import Body, Response
from adapters.http.sse import DONE, EventReader
from adapters.http.typed_events import TypedReader, typed_answer
from adapters.routes import TYPED_ROUTES
from adapters.settings import HttpSettings, Secret
from adapters.shapes.json_texts import read_input
from adapters.types import Call, Chunk, Reply, Usage

Refuse = Callable[[Response], Awaitable[BackendError]]


class OpenAICalls:
    """Calls to one server, whole and streamed; ``infer`` calls pass unread.

    ``model`` is the server's own name for the model; ``refuse`` makes an error of an answer that
    is no success, where that takes more than the answer itself; ``worker`` is the header, in lower
    case, by which an answer names who ran it.
    """

    def __init__(
        self,
        api: Api,
        settings: HttpSettings,
        *,
        model: str | None = None,
        stream_usage: bool = True,
        refuse: Refuse | None = None,
        worker: bytes | None = None,
    ) -> None:
        self._api = api
        self._client = api.client
        self._clock = api.clock
        self._secrets = api.secrets
        self._settings = settings
        self._rename = None if model is None else msgspec.json.encode(model)
        self._stream_usage = stream_usage
        self._refuse = refuse or self._refused
        self._worker = worker

    async def ask(self, call: Call, head: bytes | None) -> Reply:
        """Runs a call whose route is ``head``; None where the server has no such route. Raises
        UNSUPPORTED then, and whatever else becomes of the call."""
        if head is None:
            raise takes_no(f"{call.task} calls")
        started = self._clock.monotonic()
        deadline = min(call.deadline, started + self._settings.timeout)
        body = self._body(call)
        if call.stream:
            return await self._stream(call, head, body, deadline, started)
        response = await self._client.request(head, body, deadline=deadline)
        if not 200 <= response.status < 300:
            raise await self._refuse(response)
        try:
            return self._whole(call, response, self._clock.monotonic() - started)
        except BackendError as error:
            raise asked_by(error, response.headers, self._clock.time()) from None

    async def open(self, head: bytes, body: bytes, deadline: float) -> Body:
        """A streamed answer whose status is good. Raises what any other means."""
        answer = await self._client.stream(head, body, deadline=deadline)
        if not 200 <= answer.status < 300:
            raise await self._refuse(await answer.to_response())
        return answer

    # --- inside ----------------------------------------------------------------------------

    async def _refused(self, response: Response) -> BackendError:
        return self._api.refusal(response)

    def _body(self, call: Call) -> bytes:
        ask_usage = call.stream and self._stream_usage and call.task in ("chat", "completions")
        rename = self._rename if call.task != "infer" else None
        if not ask_usage and rename is None:
            return call.body
        if rename is None and b'"stream_options"' not in call.body:
            spliced = append_field(call.body, b'"stream_options":{"include_usage":true}')
            if spliced is not None:
                return spliced
        return _rewrite(call.body, rename, ask_usage=ask_usage)

    def _whole(self, call: Call, response: Response, seconds: float) -> Reply:
        content_type = response.header(b"content-type") or "application/json"
        worker = self._worker_of(response)
        usage = Usage(exec_s=seconds, worker=worker)
        if call.task == "infer":
            body = check_output(response.body, content_type, usage)
            usage = with_usage_told(body, usage)
        elif call.task == "count_tokens":
            body, _ = plain_answer(response.body, content_type, call.task, usage, self._secrets)
            usage = msgspec.structs.replace(usage, input_tokens=0, output_tokens=0)
        elif call.task in TYPED_ROUTES:
            body, usage = typed_answer(response.body, call.task, usage, self._secrets)
        else:
            body, usage = answer_in(response.body, call.task, usage, self._secrets)
        return Reply(body=body, content_type=content_type, usage=usage)

    async def _stream(
        self, call: Call, head: bytes, body: bytes, deadline: float, started: float
    ) -> Reply:
        answer = await self.open(head, body, deadline)
        try:
            return await self._begun(call, answer, started)
        except BackendError as error:
            raise asked_by(error, answer.headers, self._clock.time()) from None

    async def _begun(self, call: Call, answer: Body, started: float) -> Reply:
        """A stream whose first piece of answer has come."""
        content_type = answer.header(b"content-type") or ""
        worker = self._worker_of(answer)
        begun = b""
        if call.task != "infer" or not content_type.startswith("text/event-stream"):
            known = call.task != "infer"
            begun = await start_of(answer, of_protocol=known)
            if begun and not are_events(begun, of_protocol=known):
                return await self._unstreamed(call, answer, begun, worker, started)
        chunks = EventStream(
            answer,
            self._clock,
            started,
            self._reader(call),
            secrets=self._secrets,
            worker=worker,
            begun=begun,
        )
        await chunks.first()
        content_type = "text/event-stream"
        return Reply(content_type=content_type, chunks=chunks, usage=Usage(worker=worker))

    def _reader(self, call: Call) -> EventReader:
        max_event = self._settings.max_event
        if call.task in TYPED_ROUTES:
            return TypedReader(max_event=max_event)
        openai = call.task != "infer"
        return EventReader(openai=openai, max_event=max_event, asked=call.body)

    def _worker_of(self, answer: Response | Body) -> str | None:
        return None if self._worker is None else answer.header(self._worker)

    async def _unstreamed(
        self, call: Call, answer: Body, begun: bytes, worker: str | None, started: float
    ) -> Reply:
        """A stream was asked for and one whole answer came."""
        data = await rest_of(answer, begun, self._settings.max_response)
        usage = Usage(exec_s=self._clock.monotonic() - started, worker=worker)
        if call.task in TYPED_ROUTES:
            typed_answer(data, call.task, usage, self._secrets)
            raise malformed("A stream was asked for, and one whole answer came.", usage=usage)
        if call.task == "infer":
            chunks = as_one_event(data, answer.header(b"content-type") or "", usage)
        else:
            chunks = as_chunks(data, call.task, usage, self._secrets)
        return Reply(
            content_type="text/event-stream", chunks=each(chunks), usage=Usage(worker=worker)
        )


class EventStream(ReadyChunks):
    """The chunks of one streamed answer."""

    __slots__ = (
        "_begun",
        "_body",
        "_clock",
        "_reader",
        "_secrets",
        "_started",
        "_take",
        "_worker",
    )
    _take: Push | None

    def __init__(
        self,
        body: Body,
        clock: Clock,
        started: float,
        reader: EventReader,
        *,
        secrets: tuple[Secret, ...] = (),
        worker: str | None = None,
        begun: bytes = b"",
    ) -> None:
        """``begun``: what has been read of the body."""
        super().__init__()
        self._begun = begun
        self._body = body
        self._clock = clock
        self._started = started
        self._secrets = secrets
        self._reader = reader
        self._worker = worker

    @property
    def telling(self) -> bytes:
        """The JSON of the event that said most of the call until now."""
        return self._reader.telling

    async def _fill(self) -> None:
        reader, body = self._reader, self._body
        while not self._ready and not self._ended:
            if reader.error is not None:
                raise self._broken(reader.error)
            try:
                data = self._begun
                if not data:
                    if (news := body.news()) is not None:  # a future: a piece takes no coroutine
                        await news
                        if self._has_news():
                            continue
                    data = body.arrived()
            except BackendError:
                self._ended = True
                raise
            self._begun = b""
            if data:
                self._read(data)
            else:
                self._close()

    def push_to(self, take: Push | None) -> None:
        """As ``base.Pushing`` says."""
        self._take = take
        self._body.push_to(None if take is None else self._push)

    def _push(self, data: bytes) -> bool:
        """Whether whoever waits for the next chunk may go on waiting."""
        take, tokens = self._take, self._reader.plain(data)
        assert take is not None, "pushed to nobody"
        if tokens and take(data, tokens):
            return True
        self._read(data)
        ready = self._ready
        while ready and _is_pushed(ready[0]) and take(ready[0].data, ready[0].tokens):
            ready.popleft()
        return not self._has_news()

    def _read(self, data: bytes) -> None:
        self._ready.extend(self._reader.feed(data))
        if self._reader.done:
            self._finish()

    def _has_news(self) -> bool:
        """Something was pushed that is for whoever waits."""
        return bool(self._ready) or self._ended or self._reader.error is not None

    def _let_go(self) -> None:
        self._body.close()

    def _close(self) -> None:
        """The body has ended, which is a good end unless the reader says otherwise."""
        reader = self._reader
        self._ready.extend(reader.end())
        if reader.done:
            self._finish()
        elif reader.error is None:
            self._ended = True
            if reader.openai:
                self._ready.append(Chunk(DONE, "done", self._usage()))

    def _finish(self) -> None:
        """[DONE] has come: the last chunk tells all that was used."""
        self._ended = True
        self._ready.append(Chunk(self._ready.pop().data, "done", self._usage()))
        self._body.leave(self._clock.monotonic() + END_GRACE_S)

    def _usage(self) -> Usage:
        return self._taken(self._reader.usage)

    def _taken(self, usage: Usage) -> Usage:
        exec_s = self._clock.monotonic() - self._started
        return msgspec.structs.replace(usage, exec_s=exec_s, worker=self._worker)

    def _broken(self, error: BackendError) -> BackendError:
        self._ended = True
        self._body.distrust()
        usage = None if error.usage is None else self._taken(error.usage)
        return cleaned(error, self._secrets, usage)


def _is_pushed(chunk: Chunk) -> bool:
    return chunk.kind == "data" and chunk.usage is None


def append_field(body: bytes, field: bytes) -> bytes | None:
    """The JSON object with one more field at its end; None where that takes more than a splice."""
    text = body.rstrip()
    if not text.endswith(b"}") or text[:-1].rstrip().endswith(b"{"):
        return None
    return text[:-1] + b"," + field + b"}"


def _rewrite(body: bytes, model: bytes | None, *, ask_usage: bool) -> bytes:
    """The body with another model name, every other field's bytes as they were."""
    fields = _fields(body)
    if model is not None:
        fields["model"] = msgspec.Raw(model)
    if ask_usage:
        options = _fields(fields.get("stream_options", msgspec.Raw(b"{}")))
        options["include_usage"] = msgspec.Raw(b"true")
        fields["stream_options"] = msgspec.Raw(msgspec.json.encode(options))
    return msgspec.json.encode(fields)


def _fields(body: bytes | msgspec.Raw) -> dict[str, msgspec.Raw]:
    if bytes(body).strip() == b"null":
        return {}
    return read_input(body, dict[str, msgspec.Raw], "The body is no JSON object")
