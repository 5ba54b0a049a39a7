"""The port: what the gateway may ask of any backend, and the small abilities beside it."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import msgspec

from adapters.types import Call, Capabilities, Probe, Reply, Usage


class Clock(Protocol):
    """Time, passed in so that a test can advance it."""

    def monotonic(self) -> float:
        """Seconds on a scale that never goes back."""
        ...

    def time(self) -> float:
        """Seconds since 1970-01-01 UTC."""
        ...

    async def sleep(self, seconds: float) -> None: ...


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
    async def cancel(self, call_id: str) -> Usage | None:
        """Stops the remote work of a call that is not answered yet; a no-op for an unknown id.

        Returns what the platform says the call used up to then, where it says so.
        """
        ...


@runtime_checkable
class Warmable(Protocol):
    async def ping(self) -> Usage:
        """Wakes one worker, or keeps it awake, by the cheapest real call. Raises BackendError."""
        ...


@runtime_checkable
class Scalable(Protocol):
    async def keep_workers(self, minimum: int) -> None:
        """Tells the platform how many workers to keep warm. Raises BackendError."""
        ...


class AdapterClass(Protocol):
    """What ``KINDS`` names: a class with its settings beside it."""

    Settings: type[msgspec.Struct]

    def __call__(self, name: str, settings: msgspec.Struct, clock: Clock) -> Backend: ...
