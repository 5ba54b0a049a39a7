"""The port: what the gateway may ask of any backend, and the small abilities beside it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import msgspec

from adapters.types import (
    AskedPrice,
    Assumption,
    Bill,
    Call,
    Capabilities,
    Chunk,
    Handle,
    JobState,
    ModelMemory,
    Probe,
    Reply,
    Usage,
    WorkerMemory,
)

PROBE_S = 4.0
"""Seconds that a question about a platform may take: less than the five that a probe has."""


class Clock(Protocol):
    """Time, passed in so that a test can advance it."""

    def monotonic(self) -> float:
        """Seconds on a scale that never goes back."""
        ...

    def time(self) -> float:
        """Seconds since 1970-01-01 UTC."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Returns once so many seconds of this clock have passed; at once for none."""
        ...


Push = Callable[[bytes, int | None], bool]
"""Takes the bytes of a piece of an answer and about how many tokens it holds, None: one an event;
False where it cannot now, and has taken nothing."""


@runtime_checkable
class Pushing(Protocol):
    """Chunks of a stream that can be passed on in the instant in which they come."""

    def push_to(self, take: Push | None) -> None:
        """From now on a chunk of kind ``data`` that tells no usage is given to ``take``, for as
        long as somebody waits for the next chunk. One that was taken is not given to whoever
        waits, who goes on waiting; all others are, in their order. None: to nobody any more, so
        that the two no longer keep each other in memory."""
        ...


class Backend(Protocol):
    """One backend, from start to close, on one event loop.

    An adapter is built as ``Kind(name, settings, clock)`` without doing any I/O, where
    ``settings`` is an instance of the class's ``Settings`` (a frozen ``msgspec.Struct``).
    """

    @property
    def capabilities(self) -> Capabilities: ...

    @property
    def slots(self) -> int | None:
        """Calls it can run at once at this instant; 0 while nothing is warm, ``None`` when the
        platform scales and states no bound. Cheap: the router reads it for every call."""
        ...

    async def start(self) -> None:
        """Opens what ``invoke`` needs and returns without waiting for a model to load."""
        ...

    async def invoke(self, call: Call) -> Reply:
        """Runs the call. Raises ``BackendError`` and nothing else, cancellation apart.

        Honours ``call.deadline`` (then TIMEOUT). May be called any number of times at once.
        When the awaiting task is cancelled, it leaves no connection and no task behind; remote
        work is stopped by ``Cancellable.cancel``, which the gateway calls next.
        """
        ...

    async def probe(self) -> Probe:
        """Asks how it is, within about five seconds. Never raises: unreachable is an answer."""
        ...

    async def aclose(self) -> None:
        """Closes connections and child processes. May be called twice."""
        ...


@runtime_checkable
class Cancellable(Protocol):
    """A backend whose remote work can be stopped."""

    async def cancel(self, call_id: str) -> Usage | None:
        """Stops the remote work of a call that is not answered yet; a no-op for an unknown id.

        Returns what the platform says the call used up to then, where it says so.
        """
        ...


@runtime_checkable
class Warmable(Protocol):
    """A backend that can be woken, and kept awake, by a call."""

    async def ping(self) -> Usage:
        """Wakes one worker, or keeps it awake, by the cheapest real call. Raises BackendError."""
        ...


@runtime_checkable
class Scalable(Protocol):
    """A backend whose platform keeps as many workers warm as it is told."""

    async def keep_workers(self, minimum: int) -> None:
        """Tells the platform how many workers to keep warm. Raises BackendError."""
        ...


@runtime_checkable
class ScalesItself(Protocol):
    """A backend that starts and ends its own workers by the calls that there are."""

    def watch(self, demand: Callable[[], int]) -> None:
        """Says, once, how to learn the number of calls that run there or wait for it: more than
        it has been asked, since calls for which it has no slot wait before it."""
        ...


class WorkersHost(Protocol):
    """Has the workers of one backend for other processes to use, and runs no call."""

    folder: str
    """Where they are found; known once it has started."""

    async def start(self) -> None:
        """Returns before a model is loaded."""
        ...

    async def aclose(self) -> None:
        """Ends the workers. May be called twice."""
        ...


@runtime_checkable
class SharesWorkers(Protocol):
    """A kind whose backends start workers on this machine, which several processes of one gateway
    may use: its class has these two."""

    @classmethod
    def host(cls, name: str, settings: Any, clock: Clock) -> WorkersHost | None:
        """Of the process that starts them; None where these settings start none. Raises
        SettingError where they cannot be shared."""
        ...

    @classmethod
    def guest(cls, settings: Any, folder: str) -> msgspec.Struct:
        """The settings of a process that finds them there."""
        ...


@runtime_checkable
class ReportsMemory(Protocol):
    """A backend that knows what its workers occupy."""

    def memory(self) -> Mapping[str, WorkerMemory]:
        """What each warm worker occupies, by the worker's name. Asks nobody, so it may be read
        at every scrape of the metrics."""
        ...


@runtime_checkable
class ReportsModels(Protocol):
    """A backend that knows which models its workers hold."""

    def stock(self) -> Mapping[str, Mapping[str, ModelMemory]]:
        """Of workers that hold several models: each one's models, by the worker's name and the
        model's. Asks nobody, so it may be read at every scrape of the metrics."""
        ...


@runtime_checkable
class LoadsModels(Protocol):
    """A backend whose workers hold some of several models, and load the others when they are
    called for."""

    @property
    def loadable(self) -> Collection[str]:
        """The models, by the names that callers give them; the others need no load. One object
        that changes as they become known, so that who keeps it pays a look-up for each call."""
        ...

    def load_in(self, model: str) -> float | None:
        """Seconds until one of these would be in a worker's memory for a call sent now, 0 where it
        is; None where the call would be refused because a load has failed. Cheap: the router asks
        it for every call of such a model."""
        ...


@runtime_checkable
class Billed(Protocol):
    """A backend whose platform can be asked for its bill."""

    async def bill(self, start: float, end: float) -> Bill:
        """What the platform's own bill says for ``start`` to ``end``, in seconds since
        1970-01-01 UTC. Raises BackendError.

        A bill comes late and in the platform's own steps (hours, days), so its lines may reach
        beyond the period at both ends. What one finished call cost, where the platform says so,
        is ``Usage.cost_nano``.
        """
        ...


@runtime_checkable
class Priced(Protocol):
    """A backend whose platform says what it asks today."""

    async def asked_prices(self) -> Sequence[AskedPrice]:
        """What the platform asks today for a second of one of this backend's workers: one price
        for each device that such a worker may have, at least one. Raises BackendError."""
        ...


@runtime_checkable
class LongRunning(Protocol):
    """Platforms that have jobs: handed over once, asked about by whoever holds the handle, also
    after a restart. The caller keeps the time; what bounds the job at the platform is the
    call's deadline, set when it is handed over."""

    async def submit(self, call: Call) -> Handle:
        """Hands the call over and returns once the platform has named the job. Raises
        BackendError; AMBIGUOUS where it may have been taken and was not named.

        ``call.stream`` decides at some platforms whether the output can be followed.
        """
        ...

    async def poll(self, handle: Handle) -> JobState:
        """Asks once how the job stands; a job that is done may be asked about again for as long
        as the platform keeps results.

        Raises BackendError. FAILED, CANCELLED, NOT_STARTED and WORKER_DIED are its own end; TIMEOUT
        is also said of a job that the platform no longer knows. UNREACHABLE, OVERLOADED and
        AMBIGUOUS are said of the question: ask again later.
        """
        ...

    async def stop(self, handle: Handle) -> Usage | None:
        """Stops the job; a no-op for one that has ended. Says what it used, where that is told.
        Raises BackendError where the platform could not be told."""
        ...


@runtime_checkable
class Streaming(Protocol):
    """Beside LongRunning: platforms where the output of a job can be read while it runs.

    A call with ``stream`` set is streamed by ``invoke`` wherever ``Capabilities.streaming`` says
    so; this is for jobs that were handed over."""

    async def follow(self, handle: Handle, deadline: float) -> AsyncIterator[Chunk]:
        """The job's output from its first event that the platform still holds, until its end.
        ``deadline`` is an instant on the Clock's monotonic scale. Raises BackendError, also from
        the iterator, which must be exhausted or closed."""
        ...


@runtime_checkable
class ReportsStarts(Protocol):
    """A backend that starts its own workers, and has seen how long that takes."""

    @property
    def start_stages(self) -> Mapping[str, float]:
        """Seconds of each stage of the last start that was seen, by its name; empty before."""
        ...

    def ready_in(self) -> float | None:
        """Seconds after which a call sent now should begin to run, while ``slots`` is 0; None
        when it would be refused. Cheap."""
        ...


@runtime_checkable
class ChecksAssumptions(Protocol):
    """A backend that can put to the test what its kind takes for granted."""

    async def assumptions(self) -> Sequence[Assumption]:
        """Checks what the kind takes for granted of its platform, its key first, without running
        a call or spending money. Never raises."""
        ...


@runtime_checkable
class ReportsRoundTrip(Protocol):
    """A backend that knows how far away it is."""

    @property
    def round_trip_s(self) -> float | None:
        """Seconds from sending a small request to the first byte of its answer, on the way that
        calls take; None while none was seen. Read after each probe."""
        ...


class AdapterClass(Protocol):
    """What ``KINDS`` names: a class with its settings beside it. Its backends may be of other
    classes, by their settings, where it has a class method ``class_of(settings)``."""

    Settings: type[msgspec.Struct]

    def __call__(self, name: str, settings: msgspec.Struct, clock: Clock) -> Backend: ...
