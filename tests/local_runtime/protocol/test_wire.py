"""Frames: any split of the bytes gives the same events."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_runtime.protocol.events import Cancel, Credit, Done, Output, Ping, Ready, Run, ToWorker
from local_runtime.protocol.wire import (
    FramedConnection,
    FrameReader,
    FrameTooLarge,
    decode_from_worker,
    decode_to_worker,
    frame,
    read_frames,
)

events = st.one_of(
    st.builds(
        Run,
        st.integers(0, 2**40),
        st.text(max_size=8),
        st.binary(max_size=300),
        st.text(max_size=8),
        st.booleans(),
    ),
    st.builds(Cancel, st.integers(0, 9)),
    st.builds(Credit, st.integers(0, 9), st.integers(0, 2**40)),
    st.builds(Ping, st.integers(0, 9)),
)


@given(sent=st.lists(events, max_size=12), cuts=st.lists(st.integers(1, 40), min_size=1))
def test_any_split_of_the_bytes_gives_the_same_events_in_order(
    sent: list[ToWorker], cuts: list[int]
) -> None:
    """Pieces of one byte, of half a header, of several frames: all the same."""
    data, reader, got, turn = b"".join(map(frame, sent)), FrameReader(), [], 0
    while data:
        size = cuts[turn % len(cuts)]
        got += [decode_to_worker(payload) for payload in reader.feed(data[:size])]
        data, turn = data[size:], turn + 1
    assert got == sent


@given(sent=st.lists(events, max_size=12))
def test_many_frames_in_one_piece_come_out_at_once(sent: list[ToWorker]) -> None:
    """What one read brings is decoded in one go."""
    payloads = FrameReader().feed(b"".join(map(frame, sent)))
    assert [decode_to_worker(payload) for payload in payloads] == sent


@pytest.mark.parametrize(
    "event",
    [
        Ready(8, ("/", "/v1/embeddings"), "cpu", 0.1, 0.2, 0.3),
        Output(3, b"{}", True, 1, 2),
        Done(3, False, kind="invalid", message="no", param="input", queue_s=0.5, batch=4),
    ],
)
def test_what_a_worker_says_survives_the_wire(event: Ready | Output | Done) -> None:
    """Each event, with every field, comes out as it went in."""
    (payload,) = FrameReader().feed(frame(event))
    assert decode_from_worker(payload) == event


def test_a_frame_above_the_limit_is_refused_from_its_length_alone() -> None:
    """Nobody has to buffer a frame before it is known to be too large."""
    reader = FrameReader(limit=10)
    with pytest.raises(FrameTooLarge, match="above the limit of 10"):
        reader.feed((11).to_bytes(4, "big"))


def test_a_frame_of_exactly_the_limit_passes() -> None:
    """The limit is what is allowed, not what is refused."""
    (payload,) = FrameReader(limit=10).feed((10).to_bytes(4, "big") + b"0123456789")
    assert bytes(payload) == b"0123456789"


class End:
    """One end of a socket pair, recording what comes."""

    def __init__(self, limit: int = 1 << 20) -> None:
        self.got: list[ToWorker] = []
        self.lost: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        self.connection: FramedConnection[ToWorker] = FramedConnection(
            decode=decode_to_worker, receive=self.got.append, lost=self.lost.set_result, limit=limit
        )


async def connected(path: str, near: End, far: End) -> asyncio.AbstractServer:
    loop = asyncio.get_running_loop()
    server = await loop.create_unix_server(lambda: far.connection, path)
    await loop.create_unix_connection(lambda: near.connection, path)
    return server


async def test_a_peer_that_sends_rubbish_is_cut_off_and_the_reason_is_known(
    tmp_path: object,
) -> None:
    """A frame that is no event ends the connection instead of being guessed at."""
    near, far = End(), End()
    server = await connected(f"{tmp_path}/s", near, far)
    near.connection.send(Ready(1, (), "cpu", 0, 0, 0))
    error = await far.lost
    assert error is not None
    assert "Invalid value" in str(error)
    assert await near.lost is None
    server.close()


async def test_a_writer_that_is_faster_than_its_reader_is_told_to_wait(tmp_path: object) -> None:
    """``drained`` returns once the peer has read on; nothing is lost on the way."""
    near, far = End(), End()
    server = await connected(f"{tmp_path}/s", near, far)
    while not near.connection.congested:
        near.connection.send(Run(1, "/", b"x" * 200_000))
    await near.connection.drained()
    assert not near.connection.congested
    near.connection.close()
    assert await far.lost is None
    assert all(run == Run(1, "/", b"x" * 200_000) for run in far.got)
    await near.lost
    server.close()


async def test_an_event_above_the_limit_is_not_sent(tmp_path: object) -> None:
    """The peer would cut us off: we refuse first, and the connection stays usable."""
    near, far = End(limit=100), End()
    server = await connected(f"{tmp_path}/s", near, far)
    with pytest.raises(FrameTooLarge):
        near.connection.send(Run(1, "/", b"x" * 100))
    near.connection.send(Cancel(1))
    near.connection.close()
    await far.lost
    assert far.got == [Cancel(1)]
    await near.lost
    near.connection.send(Cancel(2))  # after the end: dropped, no error
    server.close()


async def test_frames_that_come_by_a_pipe_are_read_until_its_end() -> None:
    """The same frames, from a stream reader."""
    reader = asyncio.StreamReader()
    reader.feed_data(frame(Cancel(1)) + frame(Ping(2)))
    reader.feed_eof()
    assert [decode_to_worker(p) async for p in read_frames(reader)] == [Cancel(1), Ping(2)]
