"""Memory that both ends of a connection share: its rings, and who may map what."""

from __future__ import annotations

import mmap
import os
import random
import tempfile
from collections import deque
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_runtime.protocol.shared_memory import (
    NO_MEMORY,
    TRIM_S,
    NoSuchPlace,
    NotShareable,
    Ring,
    RingPlace,
    SharedMemory,
)

PAGE = mmap.PAGESIZE
RING = 4 * PAGE


def both_ends(ring: int = RING) -> tuple[SharedMemory, SharedMemory, int]:
    """Of the worker, of its caller, and a descriptor that the test closes."""
    created = SharedMemory.create(ring)
    assert created is not None
    worker, descriptor = created
    worker.agreed()
    return worker, SharedMemory.attach(descriptor), descriptor


@pytest.fixture
def ends() -> Iterator[tuple[SharedMemory, SharedMemory]]:
    worker, caller, descriptor = both_ends()
    os.close(descriptor)
    yield worker, caller
    worker.close()
    caller.close()


# --- rings ----------------------------------------------------------------------------------------

steps = st.lists(st.one_of(st.integers(1, RING + 1), st.just(-1)), max_size=80)


@given(steps)
def test_whatever_is_put_comes_out_whole_and_in_order(walk: list[int]) -> None:
    """A number puts so many bytes, -1 takes the oldest; nothing that waits is written over."""
    taken, space = bytearray(8), bytearray(RING)
    ring = Ring(memoryview(taken).cast("Q"), memoryview(space))
    other = Ring(memoryview(taken).cast("Q"), memoryview(space))
    waiting: deque[tuple[RingPlace, bytes]] = deque()
    for number, step in enumerate(walk):
        if step >= 0:
            data = random.Random(number).randbytes(step)
            place = ring.put(data)
            if place is None:
                assert step > RING or waiting, "an empty ring takes what is no larger than it"
            else:
                waiting.append((place, data))
        elif waiting:
            place, data = waiting.popleft()
            assert other.take(*place) == data
        assert ring.empty == (not waiting)
    for place, data in waiting:
        assert other.take(*place) == data


def test_an_empty_ring_begins_at_its_start_so_that_little_of_it_is_ever_touched() -> None:
    ring = Ring(memoryview(bytearray(8)).cast("Q"), memoryview(bytearray(RING)))
    for _ in range(100):
        place = ring.put(b"x" * 1000)
        assert place is not None
        assert ring.take(*place) == b"x" * 1000
        assert place.start == 0
    assert ring.written == 1000


@pytest.mark.parametrize("said", [0, 5, 1 << 62, (1 << 64) - 1])
def test_a_taker_that_says_what_cannot_be_frees_nothing_that_it_has_not_taken(said: int) -> None:
    taken = memoryview(bytearray(8)).cast("Q")
    ring = Ring(taken, memoryview(bytearray(RING)))
    first = ring.put(b"a" * 64)
    assert first is not None
    ring.take(*first)
    assert ring.put(b"b" * RING) is not None
    taken[0] = said
    assert ring.put(b"c") is None
    assert not ring.empty


@pytest.mark.parametrize(
    ("start", "size", "end"),
    [(-1, 1, 1), (0, -1, 1), (0, RING + 1, 1), (RING, 1, 1), (0, 1, -1), (0, 1, 1 << 63)],
)
def test_a_place_outside_of_the_ring_is_refused(start: int, size: int, end: int) -> None:
    ring = Ring(memoryview(bytearray(8)).cast("Q"), memoryview(bytearray(RING)))
    with pytest.raises(NoSuchPlace):
        ring.take(start, size, end)


# --- the memory of a connection -------------------------------------------------------------------


def test_each_end_puts_into_a_ring_of_its_own(ends: tuple[SharedMemory, SharedMemory]) -> None:
    worker, caller = ends
    asked, answered = caller.put(b"asked" * 100), worker.put(b"answered" * 100)
    assert asked is not None
    assert answered is not None
    assert worker.take(*asked) == b"asked" * 100
    assert caller.take(*answered) == b"answered" * 100


def test_nothing_is_put_before_the_other_end_is_known_to_have_it() -> None:
    created = SharedMemory.create(RING)
    assert created is not None
    worker, descriptor = created
    os.close(descriptor)
    assert worker.put(b"x") is None
    worker.agreed()
    assert worker.put(b"x") is not None
    worker.close()
    assert worker.put(b"x") is None


def test_a_connection_that_shares_none_refuses_to_be_told_of_any() -> None:
    assert NO_MEMORY.put(b"x") is None
    NO_MEMORY.agreed()
    assert NO_MEMORY.put(b"x") is None
    with pytest.raises(NoSuchPlace):
        NO_MEMORY.take(0, 1, 1)


def test_what_was_not_used_for_a_while_is_given_back() -> None:
    """Never what the other end has not taken yet."""
    worker, caller, descriptor = both_ends()
    data = os.urandom(2 * PAGE)
    place = caller.put(data)
    assert place is not None

    def pages() -> int:
        return os.fstat(descriptor).st_blocks * 512 // PAGE

    before = pages()
    caller.trim(0.0)
    caller.trim(2 * TRIM_S)
    assert pages() == before, "the worker has still to take it"
    assert worker.take(*place) == data
    held = pages()
    caller.trim(2 * TRIM_S)
    assert pages() == held - 2
    again = caller.put(data)
    assert again is not None
    caller.trim(3 * TRIM_S)
    assert worker.take(*again) == data
    caller.trim(3 * TRIM_S)
    assert pages() == held, "it was used just now"
    os.close(descriptor)
    for end in (worker, caller):
        end.close()


# --- what is mapped -------------------------------------------------------------------------------


def sealed(size: int) -> int:
    created = SharedMemory.create(RING)
    assert created is not None
    created[0].close()
    os.close(created[1])
    descriptor = os.memfd_create("test", os.MFD_ALLOW_SEALING)
    os.ftruncate(descriptor, size)
    import fcntl

    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
    return descriptor


def unsealed() -> int:
    descriptor = os.memfd_create("test", os.MFD_ALLOW_SEALING)
    os.ftruncate(descriptor, PAGE + 2 * RING)
    return descriptor


def file() -> int:
    descriptor, path = tempfile.mkstemp()
    os.unlink(path)
    os.ftruncate(descriptor, PAGE + 2 * RING)
    return descriptor


@pytest.mark.parametrize(
    "made",
    [
        unsealed,
        file,
        lambda: os.open(os.devnull, os.O_RDWR),
        lambda: sealed(0),
        lambda: sealed(PAGE),
        lambda: sealed(PAGE + 3 * PAGE),
        lambda: sealed(PAGE + 2 * RING - 1),
        lambda: sealed(1 << 33),
    ],
    ids=["not sealed", "a file", "a device", "nothing", "a page", "odd", "no pages", "too large"],
)
def test_what_could_be_cut_short_or_is_no_two_rings_is_not_mapped(made: Callable[[], int]) -> None:
    """To touch memory that another has cut away would kill this process."""
    descriptor = made()
    with pytest.raises(NotShareable):
        SharedMemory.attach(descriptor)
    os.close(descriptor)


def test_what_a_worker_creates_can_be_cut_by_nobody_and_has_no_name() -> None:
    before = os.listdir("/dev/shm")
    worker, caller, descriptor = both_ends()
    with pytest.raises(PermissionError):
        os.ftruncate(descriptor, PAGE)
    assert os.fstat(descriptor).st_nlink == 0
    assert os.listdir("/dev/shm") == before
    os.close(descriptor)
    for end in (worker, caller):
        end.close()
