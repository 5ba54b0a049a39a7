"""Any server that speaks OpenAI's protocol: vLLM, SGLang, TGI, llama.cpp, or another gateway.

A body goes through byte for byte, unless the upstream knows the model by another name or usage
has to be asked for. Assumptions, since servers differ: a clean end without ``[DONE]`` is an end
only after a finish_reason; a stream without one event is a failure (llama.cpp answers a context
overflow so); ``503`` is loading where the message says so and overload elsewhere.

Source: https://platform.openai.com/docs/api-reference, https://docs.vllm.ai/en/latest/serving/
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator

import msgspec

from adapters.answers import classify_error, clean, refused, refused_stream, words_in
from adapters.base import Clock
from adapters.errors import BackendError, FailureClass
from adapters.http import Client, Origin, render_head
from adapters.http1 import Body, Response
from adapters.settings import ByteSize, Duration, Secret, SecretStr
from adapters.sse import DONE, EventReader, TokenCounts, frame
from adapters.types import OPENAI_ROUTES, Call, Capabilities, Chunk, Probe, Reply, Task, Usage

PROBE_TIMEOUT = 5.0
_END_GRACE = 1.0
"""Seconds that a stream's last bytes may take after [DONE] for its connection to be kept."""


class OpenAISettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    base_url: str
    """Where the server is, with or without /v1."""
    api_key: SecretStr | None = None
    """Sent as a bearer token."""
    model: str | None = None
    """The upstream's own name for the model; left out: the caller's name is passed on."""
    headers: dict[str, str] = {}
    """Sent with every call."""
    infer_path: str | None = None
    """Where /v1/infer calls go, such as /infer; left out: this backend does not take them."""
    stream_usage: bool = True
    """Ask every stream for its usage. Off for a server that refuses stream_options."""
    connect_timeout: Duration = 5.0
    timeout: Duration = 600.0
    """The longest that one call may take, whatever the caller would wait."""
    stall_timeout: Duration = 120.0
    """The longest silence inside a stream that has begun."""
    keep_alive: Duration = 4.0
    """How long an unused connection is kept; shorter than the server's own time (uvicorn: 5s)."""
    max_connections: int = 256
    max_response: ByteSize = 64 * 1024 * 1024
    ca_file: str | None = None
    """PEM file of the authority that signed the server's certificate; left out: the system's."""


class OpenAICompatible:
    Settings = OpenAISettings

    def __init__(self, name: str, settings: OpenAISettings, clock: Clock) -> None:
        self.name = name
        self._settings = settings
        self._clock = clock
        self._secrets = () if settings.api_key is None else (settings.api_key,)
        origin = Origin(settings.base_url.rstrip("/").removesuffix("/v1"))
        self._client = Client(
            origin,
            clock,
            max_connections=settings.max_connections,
            connect_timeout=settings.connect_timeout,
            keep_alive=settings.keep_alive,
            stall_timeout=settings.stall_timeout,
            max_response=settings.max_response,
            ca_file=settings.ca_file,
        )
        self._heads = _call_heads(origin, settings)
        self._probes = [
            render_head("GET", origin, path, _auth(settings)) for path in ("/health", "/v1/models")
        ]
        self._rename = None if settings.model is None else msgspec.json.encode(settings.model)
        self._capabilities = Capabilities(tasks=frozenset(self._heads))

    def __repr__(self) -> str:
        return f"<OpenAICompatible {self.name}: {self._client!r}>"

    @property
    def capabilities(self) -> Capabilities:
        return self._capabilities

    @property
    def slots(self) -> int | None:
        """The protocol states no bound; the policy's ``concurrency`` may."""
        return None

    async def start(self) -> None:
        self._client.start()

    async def aclose(self) -> None:
        await self._client.aclose()

    async def invoke(self, call: Call) -> Reply:
        head = self._heads.get(call.task)
        if head is None:
            raise BackendError(
                FailureClass.UNSUPPORTED, f"This backend takes no {call.task} calls."
            )
        started = self._clock.monotonic()
        deadline = min(call.deadline, started + self._settings.timeout)
        body = self._body(call)
        if call.stream:
            return await self._stream(call, head, body, deadline, started)
        response = await self._client.request(head, body, deadline=deadline)
        if response.status != 200:
            raise refused(response, now=self._clock.time(), secrets=self._secrets)
        return self._whole(call, response, self._clock.monotonic() - started)

    async def probe(self) -> Probe:
        """``/health`` (vLLM: 503 when its engine is dead), then ``/v1/models``."""
        deadline = self._clock.monotonic() + PROBE_TIMEOUT
        try:
            health = await self._client.request(self._probes[0], deadline=deadline)
            if health.status == 200:
                return Probe(ready=True)
            if health.status == 503:
                return Probe(ready=False, detail="/health answers 503")
            models = await self._client.request(self._probes[1], deadline=deadline)
        except BackendError as error:
            return Probe(ready=False, detail=error.message)
        detail = "" if models.status == 200 else f"/v1/models answers {models.status}"
        return Probe(ready=models.status == 200, detail=detail)

    # --- inside ----------------------------------------------------------------------------

    def _body(self, call: Call) -> bytes:
        ask_usage = (
            call.stream and self._settings.stream_usage and call.task in ("chat", "completions")
        )
        rename = self._rename if call.task != "infer" else None
        if not ask_usage and rename is None:
            return call.body
        if rename is None and b'"stream_options"' not in call.body:
            spliced = _append_field(call.body, b'"stream_options":{"include_usage":true}')
            if spliced is not None:
                return spliced
        return _rewrite(call.body, rename, ask_usage=ask_usage)

    def _whole(self, call: Call, response: Response, seconds: float) -> Reply:
        content_type = response.header(b"content-type") or "application/json"
        usage = Usage(exec_s=seconds)
        if call.task != "infer":
            counts = _read_whole(response.body, self._secrets).usage
            if counts is not None:
                usage = Usage(
                    input_tokens=counts.prompt_tokens,
                    output_tokens=counts.completion_tokens,
                    exec_s=seconds,
                )
        return Reply(body=response.body, content_type=content_type, usage=usage)

    async def _stream(
        self, call: Call, head: bytes, body: bytes, deadline: float, started: float
    ) -> Reply:
        answer = await self._client.stream(head, body, deadline=deadline)
        if answer.status != 200:
            raise await refused_stream(answer, now=self._clock.time(), secrets=self._secrets)
        content_type = answer.header(b"content-type") or ""
        if not content_type.startswith("text/event-stream"):
            return await self._unstreamed(call, answer)
        chunks = EventStream(
            answer, self._clock, started, openai=call.task != "infer", secrets=self._secrets
        )
        await chunks.first()
        return Reply(content_type=content_type, chunks=chunks)

    async def _unstreamed(self, call: Call, answer: Body) -> Reply:
        """A stream was asked for and one JSON text came."""
        data = await answer.read_all(self._settings.max_response)
        if call.task == "infer":
            return Reply(content_type="text/event-stream", chunks=_once(frame(data.strip())))
        _read_whole(data, self._secrets)
        raise BackendError(FailureClass.FAILED, "The backend answered a stream with no stream.")


class EventStream:
    """The chunks of one streamed answer.

    Its error is raised by ``first`` while no chunk has been given, so that another backend can
    still be asked.
    """

    __slots__ = ("_body", "_clock", "_ended", "_reader", "_ready", "_secrets", "_started")

    def __init__(
        self,
        body: Body,
        clock: Clock,
        started: float,
        *,
        openai: bool,
        secrets: tuple[Secret, ...] = (),
    ) -> None:
        self._body = body
        self._clock = clock
        self._started = started
        self._secrets = secrets
        self._reader = EventReader(openai=openai)
        self._ready: deque[Chunk] = deque()
        self._ended = False

    def __aiter__(self) -> EventStream:
        return self

    async def first(self) -> None:
        """Waits for the first chunk. Raises BackendError, after which nothing is left open."""
        try:
            await self._fill()
        except BaseException:
            self._body.close()
            raise

    async def __anext__(self) -> Chunk:
        if not self._ready:
            await self._fill()
            if not self._ready:
                raise StopAsyncIteration
        return self._ready.popleft()

    async def aclose(self) -> None:
        self._ended = True
        self._ready.clear()
        self._body.close()

    async def _fill(self) -> None:
        """Reads until there is a chunk to give or the stream is over."""
        reader = self._reader
        while not self._ready and not self._ended:
            if reader.error is not None:
                raise self._broken(reader.error)
            try:
                data = await self._body.read()
            except BackendError:
                self._ended = True
                raise
            if data:
                self._ready.extend(reader.feed(data))
                if reader.done:
                    self._finish()
            else:
                self._close()

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
        self._body.leave(self._clock.monotonic() + _END_GRACE)

    def _usage(self) -> Usage:
        said = self._reader.usage
        return Usage(
            input_tokens=said.input_tokens,
            output_tokens=said.output_tokens,
            exec_s=self._clock.monotonic() - self._started,
        )

    def _broken(self, error: BackendError) -> BackendError:
        self._ended = True
        self._body.close()
        return BackendError(error.failure, clean(error.message, self._secrets))


class _Whole(msgspec.Struct):
    usage: TokenCounts | None = None
    error: msgspec.Raw = msgspec.Raw(b"null")


_WHOLE = msgspec.json.Decoder(_Whole)


def _read_whole(body: bytes, secrets: tuple[Secret, ...]) -> _Whole:
    """Checks that a 200 holds an answer. Raises FAILED, or what an error object in it means."""
    try:
        whole = _WHOLE.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BackendError(
            FailureClass.FAILED,
            "The backend's answer is not what was asked for.",
            detail=str(error),
        ) from None
    if bytes(whole.error) != b"null":
        error_object = msgspec.json.decode(whole.error)
        raise BackendError(
            classify_error(error_object),
            clean(words_in(error_object), secrets) or "The backend answered with an error.",
        )
    return whole


async def _once(data: bytes) -> AsyncIterator[Chunk]:
    yield Chunk(data)


def _auth(settings: OpenAISettings) -> dict[str, str]:
    auth = (
        {} if settings.api_key is None else {"Authorization": f"Bearer {settings.api_key.reveal()}"}
    )
    return {**settings.headers, **auth}


def _call_heads(origin: Origin, settings: OpenAISettings) -> dict[Task, bytes]:
    paths = dict(OPENAI_ROUTES)
    if settings.infer_path is not None:
        paths["infer"] = settings.infer_path
    headers = {"Content-Type": "application/json", **_auth(settings)}
    return {task: render_head("POST", origin, path, headers) for task, path in paths.items()}


def _append_field(body: bytes, field: bytes) -> bytes | None:
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
    try:
        return msgspec.json.decode(body, type=dict[str, msgspec.Raw] | None) or {}
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BackendError(FailureClass.INVALID, f"The body is no JSON object: {error}") from None
