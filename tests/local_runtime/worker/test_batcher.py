"""When a batch leaves."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from local_runtime.worker.batcher import Batcher


def test_a_lone_item_waits_its_time_and_no_longer() -> None:
    """Nothing leaves a moment too early."""
    batcher: Batcher[str] = Batcher(4, 0.5)
    batcher.add("a", 10.0)
    assert batcher.due_at() == 10.5
    assert batcher.take(10.49) == []
    assert batcher.take(10.5) == ["a"]


def test_a_full_batch_leaves_at_once() -> None:
    """Waiting longer would gain nothing."""
    batcher: Batcher[str] = Batcher(2, 0.5)
    batcher.add("a", 10.0)
    batcher.add("b", 10.1)
    assert batcher.due_at() == 10.1
    assert batcher.take(10.1) == ["a", "b"]


def test_what_waited_while_the_device_was_busy_leaves_as_soon_as_it_is_free() -> None:
    """It has waited enough; what comes after waits for others anew."""
    batcher: Batcher[str] = Batcher(4, 0.5)
    batcher.add("a", 10.0)
    batcher.freed(10.1)
    assert batcher.take(10.1) == ["a"]
    batcher.add("b", 10.2)
    assert batcher.take(10.2) == []


def test_more_than_a_batch_leaves_in_several() -> None:
    """No batch is larger than its bound."""
    batcher: Batcher[int] = Batcher(2, 0.0)
    for number in range(5):
        batcher.add(number, 1.0)
    assert [batcher.take(1.0) for _ in range(4)] == [[0, 1], [2, 3], [4], []]


def test_an_item_that_is_taken_back_does_not_leave() -> None:
    """A cancelled call is not run; one that has left cannot be taken back."""
    batcher: Batcher[object] = Batcher(2, 0.0)
    first, second = object(), object()
    batcher.add(first, 1.0)
    batcher.add(second, 1.0)
    assert batcher.remove(first)
    assert batcher.take(1.0) == [second]
    assert not batcher.remove(second)


def test_nothing_is_due_when_nothing_waits() -> None:
    """An empty batcher sets no timer."""
    assert Batcher[int](2, 0.1).due_at() is None


def test_only_items_of_one_bucket_leave_together() -> None:
    """In the order of their arrival; the other bucket waits on."""
    batcher: Batcher[str] = Batcher(2, 0.5)
    for item, bucket, now in (("a", 8, 1.0), ("b", 16, 1.1), ("c", 8, 1.2)):
        batcher.add(item, now, bucket)
    assert batcher.take(1.2) == ["a", "c"]
    assert batcher.due_at() == 1.6
    assert batcher.take(1.6) == ["b"]


def test_of_the_buckets_that_may_leave_the_one_that_waited_longest_goes_first() -> None:
    """A full bucket does not pass one whose turn it is."""
    batcher: Batcher[str] = Batcher(2, 0.5)
    for item, bucket, now in (("rare", 1, 1.0), ("a", 2, 1.1), ("b", 2, 1.2)):
        batcher.add(item, now, bucket)
    batcher.freed(1.3)
    assert [batcher.take(1.3), batcher.take(1.3)] == [["rare"], ["a", "b"]]


def test_an_item_is_taken_back_out_of_its_bucket() -> None:
    """And an empty bucket is forgotten."""
    batcher: Batcher[object] = Batcher(2, 0.0)
    first, second = object(), object()
    batcher.add(first, 1.0, "x")
    batcher.add(second, 1.1, "y")
    assert batcher.remove(first)
    assert batcher.due_at() == 1.1
    assert batcher.take(1.1) == [second]


buckets = st.lists(
    st.tuples(
        st.sampled_from(["add", "add", "take", "freed", "remove"]),
        st.integers(0, 3),
        st.floats(0, 0.2),
    ),
    max_size=80,
)


@given(steps=buckets, size=st.integers(1, 4), wait=st.floats(0, 0.3))
def test_whatever_the_buckets_every_item_leaves_once_and_the_oldest_that_may_goes_first(
    steps: list[tuple[str, int, float]], size: int, wait: float
) -> None:
    """One bucket a batch, order kept in each, the bound kept, and nobody waits behind a later
    arrival once the device is free for all."""
    batcher: Batcher[int] = Batcher(size, wait)
    now, freed, waiting = 0.0, -1.0, list[tuple[float, int, int]]()
    for number, (step, bucket, pause) in enumerate(steps):
        now += pause
        if step == "add":
            batcher.add(number, now, bucket)
            waiting.append((now, bucket, number))
        elif step == "freed":
            batcher.freed(now)
            freed = now
        elif step == "remove" and waiting:
            position = bucket % len(waiting)
            assert batcher.remove(waiting.pop(position)[2])
        elif step == "take":
            due = batcher.due_at()
            batch = batcher.take(now)
            assert bool(batch) == (due is not None and due <= now)
            if not batch:
                assert all(at > freed and at + wait > now for at, _, _ in waiting)
                continue
            key = next(key for _, key, item in waiting if item == batch[0])
            mates = [item for _, key_, item in waiting if key_ == key]
            assert batch == mates[: min(size, len(mates))]
            first = next(at for at, _, item in waiting if item == batch[0])
            overtaken = [at for at, _, _ in waiting if at < first]
            assert all(at > freed and at + wait > now for at in overtaken)
            waiting = [entry for entry in waiting if entry[2] not in batch]
        assert (batcher.due_at() is None) == (not waiting)
    left = [item for _, _, item in waiting]
    out = list[int]()
    while batch := batcher.take(now + 1.0):
        out += batch
    assert sorted(out) == left


steps = st.lists(
    st.tuples(st.sampled_from(["add", "take", "freed"]), st.floats(0, 0.2)), max_size=60
)


@given(steps=steps, size=st.integers(1, 5), wait=st.floats(0, 0.3))
def test_every_item_leaves_once_in_order_and_never_later_than_it_may(
    steps: list[tuple[str, float]], size: int, wait: float
) -> None:
    """Whatever happens: order kept, bound kept, and when due, the oldest has not waited longer
    than it must."""
    batcher: Batcher[int] = Batcher(size, wait)
    now, added = 0.0, 0
    out: list[int] = []
    arrived: list[float] = []
    for step, pause in steps:
        now += pause
        if step == "add":
            batcher.add(added, now)
            arrived.append(now)
            added += 1
        elif step == "freed":
            batcher.freed(now)
        else:
            due = batcher.due_at()
            batch = batcher.take(now)
            assert len(batch) <= size
            assert bool(batch) == (due is not None and due <= now)
            assert due is None or due <= arrived[len(out)] + wait
            out += batch
    while batch := batcher.take(now + wait):
        out += batch
    assert out == list(range(added))
