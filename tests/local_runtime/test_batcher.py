"""When a batch leaves."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from local_runtime.batcher import Batcher


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
    """It has waited enough; what comes after waits for company anew."""
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
