"""Pieces of a WebSocket hold at most one frame's end, wherever what comes is cut."""

from __future__ import annotations

import pytest

from adapters.websocket.frames import FrameSplitter

_HEADS = [
    pytest.param(bytes((0x8A, 0x80)) + b"mask", 0, id="an empty pong"),
    pytest.param(bytes((0x81, 0x00)), 0, id="empty, of a server"),
    pytest.param(bytes((0x81, 125)), 125, id="the longest short one"),
    pytest.param(bytes((0x81, 126, 0, 126)), 126, id="the shortest middle one"),
    pytest.param(bytes((0x81, 0xFE, 1, 0)) + b"mask", 256, id="a masked middle one"),
    pytest.param(bytes((0x81, 127)) + (300).to_bytes(8), 300, id="a long one"),
]


@pytest.mark.parametrize(("head", "size"), _HEADS)
@pytest.mark.parametrize("cut", [1, 2, 3, 5, 7, 64, 100_000])
def test_pieces_end_where_frames_do(head: bytes, size: int, cut: int) -> None:
    frame = head + b"x" * size
    stream, frames, whole = frame * 3, FrameSplitter(), [b""]
    for at in range(0, len(stream), cut):
        frames.feed(stream[at : at + cut])
        while frames.has_more:
            whole[-1] += frames.piece()
            if frames.is_between:
                whole.append(b"")
    assert whole == [frame] * 3 + [b""]
    assert frames.piece() == b""


def test_a_head_of_http_is_cut_at_its_lines() -> None:
    frames = FrameSplitter()
    frames.feed(b"HTTP/1.1 101 \r\nA")
    assert [frames.line(), frames.line()] == [b"HTTP/1.1 101 \r\n", b"A"]
    frames.feed(b": b\r\n\r\n\x81\x00")
    assert [frames.line(), frames.line(), frames.piece()] == [b": b\r\n", b"\r\n", b"\x81\x00"]
