"""Which trace a request belongs to: W3C Trace Context, read and written.

Source: https://www.w3.org/TR/trace-context/
"""

from __future__ import annotations

import random
import re

import msgspec

_TRACEPARENT = re.compile(
    r"(?P<version>[0-9a-f]{2})-(?P<trace>[0-9a-f]{32})-(?P<span>[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})"
    r"(?P<more>-.*)?\Z"
)
_LONGEST_STATE = 512
"""Characters of ``tracestate`` that are passed on at least; what is longer is dropped whole."""
_STATE = re.compile(r"[\t -~]*\Z")
_NONE = {"0" * 32, "0" * 16}


class TraceContext(msgspec.Struct, frozen=True):
    """A place in a trace: below the span ``span_id``, of 16 hexadecimal digits."""

    trace_id: str
    """32 hexadecimal digits."""
    span_id: str
    sampled: bool
    """Whether whoever began the trace keeps it."""
    state: str = ""
    """``tracestate``: what other systems on the way have noted, passed on as it came."""

    def below(self, span_id: str) -> TraceContext:
        """The same trace, below another span."""
        return msgspec.structs.replace(self, span_id=span_id)

    def header_lines(self) -> bytes:
        """Of a request's head."""
        text = f"traceparent: 00-{self.trace_id}-{self.span_id}-{int(self.sampled):02x}\r\n"
        if self.state:
            text += f"tracestate: {self.state}\r\n"
        return text.encode("latin-1")


def read_context(traceparent: bytes, tracestate: bytes = b"") -> TraceContext | None:
    """What a caller says; None for what says nothing, or is malformed: a new trace begins then."""
    match = _TRACEPARENT.match(traceparent.decode("latin-1").strip())
    if match is None or match["version"] == "ff" or {match["trace"], match["span"]} & _NONE:
        return None
    if match["version"] == "00" and match["more"]:
        return None
    state = tracestate.decode("latin-1").strip()
    if len(state) > _LONGEST_STATE or _STATE.match(state) is None:
        state = ""
    return TraceContext(match["trace"], match["span"], bool(int(match["flags"], 16) & 1), state)


class TraceIds:
    """Makes ids, and decides which of the traces that begin here are kept: ``sample`` of them."""

    def __init__(self, source: random.Random, sample: float) -> None:
        self._source = source
        self._sample = sample

    def span_id(self) -> str:
        """16 hexadecimal digits, not all of them 0."""
        return f"{self._source.getrandbits(64) or 1:016x}"

    def begin(self) -> TraceContext:
        """A trace of which no caller knows; it has no span above it."""
        trace_id = f"{self._source.getrandbits(128) or 1:032x}"
        return TraceContext(trace_id, "", self._source.random() < self._sample)
