"""One request's trace while it is under way: each span is given away as soon as it has ended."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Literal, Protocol

import msgspec

from gateway.clock import Clock
from gateway.telemetry.trace_context import TraceContext, TraceIds

Value = str | int | float | bool | tuple[str, ...]
Kind = Literal["server", "client", "internal"]


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """Something that took time. ``start`` and ``end`` are seconds since the epoch."""

    name: str
    span_id: str
    above: TraceContext
    """Its trace, and the span that it is a part of; that one's id may be empty."""
    start: float
    end: float
    attributes: dict[str, Value]
    kind: Kind = "internal"
    failed: bool = False


class EndedCall(msgspec.Struct, frozen=True, kw_only=True):
    """What metrics are made of. Times are seconds."""

    operation: str
    model: str
    seconds: float
    error: str
    first_piece_s: float | None
    input_tokens: int
    output_tokens: int


class TraceSink(Protocol):
    """Who is told; neither waits, nor raises."""

    def span(self, span: Span) -> None:
        """One of a trace that is kept has ended."""
        ...

    def call(self, ended: EndedCall) -> None:
        """A call has ended, whether its trace is kept or not."""
        ...


class RequestTrace:
    """Of one request. ``attributes`` are of its own span, the server's, until that ends."""

    def __init__(
        self,
        parent: TraceContext,
        ids: TraceIds,
        clock: Clock,
        sink: TraceSink,
        *,
        propagates: bool,
    ) -> None:
        """``propagates``: whether backends are told."""
        self.span_id = ids.span_id()
        self.attributes: dict[str, Value] = {}
        self.first_piece_at: float | None = None
        """Monotonic seconds."""
        self.propagates = propagates
        self._parent = parent
        self._here = parent.below(self.span_id)
        self._ids = ids
        self._clock = clock
        self.sink = sink
        self._began = clock.monotonic()
        self._began_at = clock.time()
        self._attempts: dict[int, str] = {}

    def at(self, monotonic: float) -> float:
        """Seconds since the epoch, of monotonic ones."""
        return self._began_at + monotonic - self._began

    @contextlib.contextmanager
    def part(self, name: str, attributes: dict[str, Value] | None = None) -> Iterator[None]:
        """A span of what is done within; one that raises has failed."""
        start, given, failed = (
            self._clock.monotonic(),
            {} if attributes is None else attributes,
            True,
        )
        try:
            yield
            failed = False
        finally:
            self.add(name, start, given, failed=failed)

    def add(
        self,
        name: str,
        start: float,
        attributes: dict[str, Value],
        *,
        span_id: str = "",
        kind: Kind = "internal",
        failed: bool = False,
    ) -> None:
        """A span that began at ``start``, in monotonic seconds, and ends now."""
        if self._here.sampled:
            self.sink.span(
                Span(
                    name=name,
                    span_id=span_id or self._ids.span_id(),
                    above=self._here,
                    start=self.at(start),
                    end=self.at(self._clock.monotonic()),
                    attributes=attributes,
                    kind=kind,
                    failed=failed,
                )
            )

    def begin_attempt(self, attempt: object) -> bytes:
        """Returns the lines by which its backend is told; none where it is not to be."""
        span_id = self._attempts[id(attempt)] = self._ids.span_id()
        return self._here.below(span_id).header_lines() if self.propagates else b""

    def attempt_id(self, attempt: object) -> str | None:
        """The id of its span, once; None where it did not begin here."""
        return self._attempts.pop(id(attempt), None)

    def end(self, name: str, *, failed: bool) -> None:
        """The request's own span ends."""
        if self._here.sampled:
            self.sink.span(
                Span(
                    name=name,
                    span_id=self.span_id,
                    above=self._parent,
                    start=self._began_at,
                    end=self.at(self._clock.monotonic()),
                    attributes=self.attributes,
                    kind="server",
                    failed=failed,
                )
            )


TRACE: ContextVar[RequestTrace | None] = ContextVar("TRACE", default=None)
"""Of the request that this task, or the one that made it, answers."""
