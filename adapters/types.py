"""The words for one call to one backend. Frozen values; no platform is named here.

Times are seconds as float, money is integer nano-dollars, sizes are bytes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextvars import ContextVar
from typing import Literal, Protocol

import msgspec

TRACE_HEADER: ContextVar[bytes] = ContextVar("TRACE_HEADER", default=b"")
"""What every request that is made for a call tells its backend of the call's trace, set by whoever
traces, in the call's own context: whole lines of a head, each with its line break; empty: nobody
traces. Source: https://www.w3.org/TR/trace-context/"""

ModelTask = Literal[
    "chat", "completions", "embeddings", "infer",
    "images", "transcriptions", "speech", "rerank", "moderations", "score", "realtime", "other",
]  # fmt: skip
"""What a model does."""
Task = Literal[
    ModelTask,
    "messages", "count_tokens", "responses", "image_edits", "translations", "tokenize",
    "infer_file",
]  # fmt: skip
"""What is asked of it: also a chat in the words of Anthropic's /v1/messages, how many tokens such a
request has, a chat in the words of OpenAI's /v1/responses, or an inference whose body is a form or
a file."""

ALL_TASKS: frozenset[Task] = frozenset(("chat", "completions", "embeddings", "infer"))
"""Those that a backend of any kind may be asked."""
SPOKEN_AS: dict[Task, Task] = {"messages": "chat", "responses": "chat"}
"""What may be said in other words, to a backend that does not know its own."""
ASKED_OF: dict[Task, ModelTask] = {
    **dict.fromkeys(SPOKEN_AS, "chat"),
    "count_tokens": "chat",
    "image_edits": "images",
    "translations": "transcriptions",
    "infer_file": "infer",
}
"""What a model does of which this may be asked, where that has another name."""
INFER_ONLY: frozenset[Task] = frozenset(("infer",))

WRITES_NOTHING: frozenset[Task] = frozenset(
    ("embeddings", "count_tokens", "images", "image_edits", "speech", "rerank", "moderations",
     "score", "tokenize")
)  # fmt: skip
"""Whose answers hold no text that a model wrote."""
FORMS: frozenset[Task] = frozenset(("image_edits", "transcriptions", "translations"))
"""Whose bodies are forms with files."""
JSON_TYPE = "application/json"


class Progress(msgspec.Struct, eq=False, gc=False):
    """How a call gets on at a platform that has a queue of its own; its adapter writes it. What an
    adapter does not know it leaves: a call then counts as begun when it was sent."""

    queued_until: float = float("-inf")
    """The instant, on the Clock's monotonic scale, at which the platform last said that the call
    waits for a worker (in line, or for one that starts). It began to run no earlier."""
    runs_at: float = float("-inf")
    """The same of its last word that the call runs."""


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One inference, as the gateway asks it of a backend.

    ``body`` is the caller's JSON, byte for byte: unknown fields pass through because nobody
    re-types them. An adapter decodes it only when it must change it.
    """

    id: str
    """The request id: unique, at most 64 characters of ``[A-Za-z0-9_-]``."""
    model: str
    task: Task
    body: bytes
    stream: bool = False
    """The caller wants server-sent events."""
    content_type: str = JSON_TYPE
    """Of the body: another one than JSON's for a form with files."""
    betas: str = ""
    """The header ``anthropic-beta``: what a message's caller wants that not everybody has."""
    declared: tuple[str, str] | None = None
    """Of a call to a route that the policy names: its method, and its path with its query."""
    shown: str = ""
    """What the caller, and so the answer, calls the model; empty: it is left as it comes."""
    deadline: float = float("inf")
    """The instant, on the Clock's monotonic scale, after which nobody waits for the answer."""
    progress: Progress = msgspec.field(default_factory=Progress)
    """The one thing in a call that changes."""


class TokenParts(msgspec.Struct, frozen=True, kw_only=True):
    """What the tokens of a call were, as its backend said. The first six are parts of its input
    tokens, the others of its output tokens; what is in no part is plain text."""

    cached: int = 0
    """Read from a cache of prompts, whatever they are."""
    cached_audio: int = 0
    """Of these, of sound; where that is told, it is in no other part."""
    cache_write: int = 0
    """Written to a cache that keeps them for some minutes."""
    cache_write_1h: int = 0
    """Written to a cache that keeps them for an hour."""
    audio_input: int = 0
    image_input: int = 0
    reasoning: int = 0
    """Written before the answer, and not part of it."""
    audio_output: int = 0
    image_output: int = 0


class ImageKind(msgspec.Struct, frozen=True):
    """What an image is, as far as its price may differ by it; empty: nobody said."""

    size: str = ""
    """Such as 1024x1024, in small letters."""
    quality: str = ""
    """Such as high, in small letters."""


ANY_IMAGE = ImageKind()


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What a call used. ``None`` is "nobody said", never zero."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    total_tokens: int | None = None
    """Input and output together, where the backend said no more than that."""
    text_tokens: int | None = None
    """About what the answer's text is, where nobody counted its output: an estimate."""
    queue_s: float | None = None
    """Seconds it waited for a worker, at the platform or in the runtime."""
    cold_s: float | None = None
    """Seconds that this call waited for a worker's start, or for its model to be loaded."""
    load_s: float | None = None
    """Of these, what the model's load took; only of backends whose workers load models on call."""
    exec_s: float | None = None
    """Seconds from the handler's start to its end."""
    gpu_s: float | None = None
    """Seconds of device that are this call's share: ``exec_s`` divided by the batch it ran in."""
    worker: str | None = None
    """Who ran it, as the platform names its workers."""
    cost_nano: int | None = None
    """The platform's own figure for the price, where it states one."""
    reported: bool = False
    """True when the platform stated the times; False when they are our estimate."""
    parts: TokenParts | None = None
    """What the tokens were, where the backend tells them apart."""
    images: int | None = None
    """Images that were made."""
    image: ImageKind = ANY_IMAGE
    """What they are, each of them."""
    audio_s: float | None = None
    """Seconds of sound that were read or made."""
    estimated: bool = False
    """Something that is charged for beside tokens and time is the gateway's estimate."""
    device: str | None = None
    """What it ran on, as the backend names it: a type of GPU, or a size of worker."""


class Chunk(msgspec.Struct, frozen=True):
    """A piece of a stream, framed for the wire and ready to be passed on as it is.

    ``data``   bytes that carry answer for the caller.
    ``usage``  an event whose only purpose is usage (OpenAI's ``choices: []`` event); the
               gateway adds the cost to it, or hides it from a caller who did not ask.
    ``done``   the end marker (``data: [DONE]``), sent on only after the call is settled.

    Each ``usage`` and ``done`` chunk holds exactly one event.
    """

    data: bytes
    kind: Literal["data", "usage", "done"] = "data"
    usage: Usage | None = None
    """Set on the chunk from which usage became known; the last one set wins."""
    tokens: int | None = None
    """About how many tokens of answer it holds, for a stream whose usage nobody states; None: one
    an event."""


class Conversation(Protocol):
    """The way back to a backend, which ends with ``close``, and with the chunks."""

    ended: tuple[int, str]
    """By which code of a WebSocket (RFC 6455, 7.4) the backend has ended it, and why."""

    async def send(self, message: bytes) -> None: ...
    async def close(self) -> None: ...


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """A backend's answer: whole (``body``) or in pieces (``chunks``), never both. A stream that
    ends without error is complete: an adapter that sees a cut raises ``BackendError(TRUNCATED)``
    from the iterator. Whoever takes ``chunks`` must exhaust it or ``aclose()`` it."""

    body: bytes = b""
    content_type: str = "application/json"
    chunks: AsyncIterator[Chunk] | None = None
    usage: Usage = Usage()
    """Of a whole answer; of a stream, what is known before its end."""
    status: int = 200
    """HTTP status of a whole answer."""
    rest: Callable[[], Awaitable[Usage]] | None = None
    """Of an answer that only promises work: waits, once, until that has ended, for what it used.
    Raises BackendError where it failed, also of the call's deadline. Cancelled, it leaves the work
    alone; ``Cancellable.cancel`` stops it."""
    conversation: Conversation | None = None
    """Of a stream each of whose chunks is a message, and to which messages may be sent."""
    outlives: bool = False
    """The promised work goes on when the gateway ends."""


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """What a backend can take. The router filters on these before it asks."""

    tasks: frozenset[Task] = ALL_TASKS
    streaming: bool = True
    max_request_bytes: int | None = None
    """The platform's limit for one request body; ``None`` when it states none."""
    queues: bool = True
    """Calls past ``slots`` wait there in order. False: it refuses them, or breaks off others."""
    one_by_one: bool = False  # what is sent to a busy worker waits for that one, others free or not


class Probe(msgspec.Struct, frozen=True, kw_only=True):
    """What a backend says of itself, without running a call or spending money."""

    ready: bool
    """A call sent now would be served without a cold start."""
    warm_workers: int | None = None
    starting_workers: int | None = None
    running: int | None = None
    """Calls that run there now, whoever sent them."""
    queued: int | None = None
    counts_all: bool = False
    """``running`` and ``queued`` were counted there at this instant, calls of others among them."""
    stuck: bool = False
    """Calls wait there and no worker can come: what is sent now would wait as long."""
    detail: str = ""
    """One line for anybody; never a secret."""
    why: str = ""
    """The same for an operator, where more is known: addresses, and what the system said."""
    asked: bool = True  # False: that would wake it, and its calls have shown the rest

    @property
    def told(self) -> str:
        """One line for an operator."""
        return self.why or self.detail


class WorkerMemory(msgspec.Struct, frozen=True, kw_only=True):
    """What one worker occupies, in bytes, as it last said."""

    resident: int | None = None
    """Of its machine's memory; None where that is not told."""
    device_allocated: int | None = None
    """Of its GPUs' memory, by tensors; None where it uses none."""
    device_reserved: int | None = None
    """What its framework keeps from others there."""
    device_peak: int | None = None
    """The most that was allocated so far."""


class ModelMemory(msgspec.Struct, frozen=True, kw_only=True):
    """How one model stands in one worker of several models, as the worker last said."""

    resident: int
    """Bytes of the worker's memory that are set aside for it; 0 while it is not loaded."""
    loads: int = 0
    """Since the worker started."""
    evictions: int = 0
    failures: int = 0
    """Loads that failed."""
    load_s: float = 0.0
    """What the last load took."""


class Handle(msgspec.Struct, frozen=True, kw_only=True):
    """A job that a platform has taken, in a form that may be written down: any later process with
    the same settings can ask about it."""

    job: str
    """The platform's own name for the job."""
    call: str
    """The id of the call that was handed over."""
    task: Task
    submitted: float
    """When it was handed over, in seconds since 1970-01-01 UTC."""


class JobState(msgspec.Struct, frozen=True, kw_only=True):
    """How a job stands. One that failed is no state: asking about it raises why."""

    status: Literal["queued", "running", "done"]
    reply: Reply | None = None
    """The answer, exactly where the status is ``done``."""
    logs: str = ""
    """All that it has written so far."""
    progress: msgspec.Raw | None = None
    """How far it has come, in JSON of its own."""
    pieces: tuple[msgspec.Raw, ...] = ()
    """Of its output so far, each as JSON."""


class BillLine(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a platform's bill. Instants are seconds since 1970-01-01 UTC."""

    start: float
    end: float
    cost_nano: int | None
    """None where the platform states seconds alone: then the policy's price says what they cost."""
    seconds: float | None = None
    """Device seconds that were billed, where the line states them."""
    calls: int | None = None
    """Runs that it is for, where the line states them."""
    label: str = ""
    """What was billed, as the platform names it: an endpoint, a model, a worker."""
    parts: dict[str, int] = {}
    """Nano-dollars of what the cost is made of (GPU, disk, a fee), where the line states it."""


class Bill(msgspec.Struct, frozen=True, kw_only=True):
    """What a platform says that a period cost. Sums are over ``lines``."""

    start: float
    end: float
    lines: tuple[BillLine, ...] = ()
    of_runs: bool = False
    """Its seconds are those in which calls ran; else all of workers' time, idle and starting."""

    @property
    def cost_nano(self) -> int:
        """Nano-dollars of all lines together, of those that state any."""
        return sum(line.cost_nano or 0 for line in self.lines)

    @property
    def calls(self) -> int | None:
        """Runs of all lines together; None where no line states them."""
        stated = [line.calls for line in self.lines if line.calls is not None]
        return sum(stated) if stated else None

    @property
    def seconds(self) -> float | None:
        """None where no line states seconds: then nobody said."""
        stated = [line.seconds for line in self.lines if line.seconds is not None]
        return sum(stated) if stated else None

    @property
    def parts(self) -> dict[str, int]:
        """The parts of all lines together, by name, in nano-dollars."""
        sums: dict[str, int] = {}
        for line in self.lines:
            for name, cost_nano in line.parts.items():
                sums[name] = sums.get(name, 0) + cost_nano
        return sums


class AskedPrice(msgspec.Struct, frozen=True, kw_only=True):
    """What a platform asks today for a worker's time. Nothing is charged by it: what is charged
    is the policy's price, which is dated."""

    per_second_nano: int
    """Nano-dollars a second of one worker, all its devices together."""
    device: str
    """As the platform names it."""
    devices: int = 1
    """Of one worker."""
    source: str = ""
    """Where it was asked: an address."""


class Assumption(msgspec.Struct, frozen=True, kw_only=True):
    """Something that a kind takes for granted of its platform, and what was found of it."""

    claim: str
    holds: bool | None
    """None: it could not be checked."""
    found: str = ""
    """One line for a person; never a secret."""
