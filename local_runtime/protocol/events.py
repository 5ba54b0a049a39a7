"""Everything that crosses between processes: small frozen values, one msgpack array each.

    gateway    -> worker      Run Cancel Credit Ping Mapped SharedRun
    worker     -> gateway     Ready Slots Output Done Head Memory CacheStatus SharedAnswer
    worker     -> supervisor  Ready Heartbeat Broken Waiting
    supervisor -> worker      Promote
    supervisor -> gateway     WorkerChanged

"gateway" stands for whoever calls: it, or the app's own HTTP server.

A failure of a model's code is an event, not an exception: ``Done`` with ``ok`` false. Seconds are
float. ``id`` numbers a call within one connection; whoever sent ``Run`` chose it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec

FailureKind = Literal[
    "", "invalid", "failed", "timeout", "cancelled", "overloaded", "unsupported", "loading"
]
"""Why a call failed: the caller's input; the handler raised; it ran too long; a Cancel came; the
queue is full; no such route; its model could not be loaded."""

WorkerState = Literal["new", "starting", "waiting", "ready", "busy", "defunct"]
Standby = Literal["none", "imported", "loaded"]
"""What a spare does before it is needed: nothing, that is, there is none; imports the app; runs
init and warm-up too."""
Stage = Literal["load", "init", "warmup", "handler", "process"]
"""Where a worker broke: finding and importing the app; its init; a warm-up call; a handler that
never came back; the process itself (killed, exited, silent)."""


PROTOCOL = 1
"""What these events are, as a number that a worker says first: its caller may be of another
version. A field that is appended, with a default, leaves it as it is, since older ends pass over
what they do not know; it goes up with whatever they would misread or could not do without, which
a new event from a worker is."""


class Event(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The base of all events; ``gc=False`` because none can be part of a cycle."""


# --- gateway -> worker -------------------------------------------------------------------------


CONTENT_TYPE = "content-type"


class Run(Event, tag=1, frozen=True):
    """One call. ``body`` is what the caller sent, not decoded: JSON, unless a header says what else
    it is."""

    id: int
    route: str
    body: bytes
    request: str = ""
    """The request id, for the handler's eyes."""
    stream: bool = False
    """False: a generator's items come as one JSON list; True: each comes as an Output."""
    direct: bool = False
    """The caller is the app's own HTTP server: it takes raw bytes behind a Head, and waits for
    the end of a background call itself."""
    headers: tuple[tuple[str, str], ...] = ()
    """The caller's HTTP headers, for the handler's eyes."""
    model: str = ""
    """The model's name, as the caller named it to the gateway."""
    within: float = 0.0
    """Seconds after which nobody waits for it; 0: its handler's time-out alone counts."""
    follows: bool = False
    """Of a background call: its caller takes a Head for the promise, and waits for the end too."""


class Cancel(Event, tag=2, frozen=True):
    """Nobody waits for this call any more; it is answered with Done(cancelled)."""

    id: int


class Credit(Event, tag=3, frozen=True):
    """``size`` bytes of a stream were consumed: so many more may be sent."""

    id: int
    size: int


class Ping(Event, tag=4, frozen=True):
    """Runs a warm-up sample as if it were a call; answered with Done."""

    id: int
    route: str = ""
    """Whose sample; empty: the first that there is. A route without one does nothing."""


class Mapped(Event, tag=5, frozen=True):
    """This end has taken over the memory whose descriptor came along with Ready: what is large may
    go through it from now on."""


class SharedRun(Event, tag=6, frozen=True):
    """One call, whose body lies in the memory that both ends share: see ``shared_memory``."""

    run: Run
    """Its ``body`` is empty."""
    start: int
    size: int
    end: int


# --- worker -> gateway -------------------------------------------------------------------------


class Ready(Event, tag=16, frozen=True):
    """The first event on every connection, and the supervisor's sign that loading ended."""

    slots: int
    """Calls that run at once."""
    routes: tuple[str, ...]
    device: str
    load_s: float
    init_s: float
    warmup_s: float
    background: tuple[str, ...] = ()
    """Those of the routes that are background handlers."""
    process_s: float = 0.0
    """From the start of the process until the runtime was imported."""
    standby: Standby = "none"
    """What of this was done while the worker was a spare: nobody waited for it."""
    protocol: int = 1
    """Its ``PROTOCOL``; a worker that does not say speaks the first."""
    max_frame: int = 0
    """Bytes of the largest frame that it takes and sends; 0: it does not say."""
    models: dict[str, tuple[str, ...]] = {}
    """Of the background handlers that take models: the names, by route."""
    says_started: bool = False
    """Its background calls are promised with 200 and ``started``, as Potassium's are."""
    described: bytes = b""
    """What its handlers take and give, as OpenAPI in JSON; empty: it does not say."""


class Slots(Event, tag=17, frozen=True):
    """The number of slots changed: 0 while a handler is past its time-out, or when it drains. Or
    that of others' calls did, which it sends now and then."""

    slots: int
    others: int = 0
    """Calls that came by other connections and are not answered."""


class Output(Event, tag=18, frozen=True):
    """One item of a stream, as JSON."""

    id: int
    data: bytes
    usage: bool = False
    """The item holds only usage (OpenAI's item with ``choices: []``)."""
    input_tokens: int | None = None
    output_tokens: int | None = None


class Done(Event, tag=19, frozen=True):
    """The end of a call. ``message`` is fit for the caller, ``detail`` for the operator."""

    id: int
    ok: bool
    data: bytes = b""
    """The result as JSON; empty after Outputs."""
    kind: FailureKind = ""
    message: str = ""
    param: str | None = None
    detail: str = ""
    queue_s: float = 0.0
    """From its arrival at the worker to the handler's start."""
    exec_s: float = 0.0
    """From the handler's start to its end."""
    gpu_s: float = 0.0
    """This call's share of ``exec_s``: divided by the batch it ran in."""
    batch: int = 1
    input_tokens: int | None = None
    output_tokens: int | None = None
    status: int = 0
    """The HTTP status that the handler chose; 0 where it chose none."""
    headers: tuple[tuple[str, str], ...] = ()
    """The handler's; with a Content-Type of its own ``data`` may be other than JSON."""
    cold_s: float = 0.0
    """Seconds that it waited for its model to be loaded."""


class Head(Event, tag=20, frozen=True):
    """What the handler of a direct call chose for its answer; Outputs of raw bytes follow."""

    id: int
    status: int
    headers: tuple[tuple[str, str], ...] = ()


class Memory(Event, tag=24, frozen=True):
    """What the worker occupies, in bytes; sent now and then."""

    resident: int = 0
    """Of the machine's memory; 0 where the system does not say."""
    device: bool = False
    """The app has begun to use a GPU that torch counts; else what follows is 0."""
    allocated: int = 0
    """By tensors, on all its devices together."""
    reserved: int = 0
    """By torch from the driver: what other processes cannot have. The driver's own context, of
    some hundred megabytes, comes on top."""
    peak: int = 0
    """The most that was allocated on each device so far, added up."""


class ModelStatus(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """How one of an app's models stands in one worker."""

    model: str
    state: Literal["out", "loading", "in", "leaving"]
    """``leaving``: it takes no new calls, and goes when those under way have ended."""
    size: int
    """Declared, in bytes."""
    loads: int = 0
    evictions: int = 0
    failures: int = 0
    """Loads that failed."""
    load_s: float = 0.0
    """What the last load took."""
    pinned: bool = False
    pause_s: float = 0.0
    """After a load that failed: seconds from then on for which its calls are refused."""


class CacheStatus(Event, tag=25, frozen=True):
    """The models of an app that declares some; sent whenever one comes or goes."""

    models: tuple[ModelStatus, ...]
    capacity: int = 0
    """Bytes that they share; 0: no bound is known."""


class SharedAnswer(Event, tag=26, frozen=True):
    """An answer or a part of one, whose data lie in the memory that both ends share. A worker says
    it to those alone who have said Mapped."""

    answer: Output | Done
    """Its ``data`` are empty."""
    start: int
    size: int
    end: int


# --- worker -> supervisor ----------------------------------------------------------------------


class Heartbeat(Event, tag=32, frozen=True):
    """The worker lives; sent about once a second."""

    running: int
    queued: int
    sequence: int
    """Calls begun since the worker started."""


class Broken(Event, tag=33, frozen=True):
    """The worker is about to exit, and why."""

    stage: Stage
    message: str
    permanent: bool = False
    """Starting it again would fail the same way: the app's file or name does not exist."""


class Waiting(Event, tag=34, frozen=True):
    """A spare has done what can be done standby, and waits for a Promote on its stdin."""


# --- supervisor -> worker ----------------------------------------------------------------------


class Promote(Event, tag=40, frozen=True):
    """A spare is the worker ``index`` from now on."""

    index: int
    socket: str
    device: str
    visible: str | None = None
    """CUDA_VISIBLE_DEVICES, where it is to be another."""


# --- supervisor -> gateway ---------------------------------------------------------------------


class WorkerChanged(Event, tag=48, frozen=True):
    """A worker, or a spare, came into another state."""

    index: int
    state: WorkerState
    pid: int = 0
    path: str = ""
    """Its socket, once it is ready."""
    detail: str = ""
    """Why it is defunct, in one line for the operator."""
    retry_s: float | None = None
    """Seconds until a defunct worker is started again; None: never."""
    spare: bool = False
    """It is a spare, numbered among the spares."""
    standby: Standby = "none"
    """What of its start was done while it was a spare."""


Piece = Output | Head
Respond = Callable[[Piece | Done], None]
"""Sends to whoever asked; called at most once with a Done."""
ToWorker = Run | Cancel | Credit | Ping | Mapped | SharedRun
FromWorker = Ready | Slots | Output | Done | Head | Memory | CacheStatus | SharedAnswer
LifeSign = Ready | Heartbeat | Broken | Waiting
