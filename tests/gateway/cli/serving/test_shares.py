"""Who makes way first, and who may have more."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from gateway.cli.serving.shares import AtRest, first_to_go, may_have

NOW = 100.0


def resting(name: str, holder: str, since: float, *, known: bool = True) -> AtRest[str]:
    return AtRest(name, holder, known, since)


def names(found: list[AtRest[str]]) -> list[str]:
    return [one.connection for one in found]


@given(st.lists(st.integers(0, 6), max_size=400), st.integers(1, 500))
def test_however_greedy_the_others_are_one_more_holder_has_room(asks: list[int], room: int) -> None:
    """As long as they are few enough for there to be one descriptor left to each."""
    busy: Counter[str] = Counter()
    for holder in map(str, asks):
        busy[holder] += 2
        if not may_have(busy, holder, room):
            busy[holder] -= 2
    assert busy.total() <= room
    left = room - busy.total()
    assert left >= room // (4 * len(busy) + 1) - 2
    assert may_have(busy + Counter(new=2), "new", room) or left < 4


def test_one_that_is_alone_may_have_four_fifths() -> None:
    assert may_have({"a": 80}, "a", 100)
    assert not may_have({"a": 82}, "a", 100)
    assert not may_have({"a": 80, "b": 20}, "b", 100)


def test_he_who_has_most_at_rest_makes_way_first_with_his_oldest() -> None:
    few = [resting("kept", "few", 1.0)]
    many = [resting(f"{number}", "many", 10.0 + number) for number in range(4)]
    assert names(first_to_go(few + many, 3, NOW)) == ["0", "1", "2"]
    assert set(names(first_to_go(few + many, 5, NOW))) == {"kept", "0", "1", "2", "3"}


def test_two_that_have_as_many_make_way_in_turn() -> None:
    both = [resting(f"{holder}{age}", holder, age) for holder in "ab" for age in (1, 2, 3)]
    found = names(first_to_go(both, 4, NOW))
    assert sorted(found) == ["a1", "a2", "b1", "b2"]


def test_who_has_shown_no_key_makes_way_before_who_has_and_the_fresh_after_the_old() -> None:
    each = [
        resting("known", "k", 1.0),
        resting("known and fresh", "k", NOW),
        resting("stranger and fresh", "s", NOW, known=False),
        resting("stranger", "s", 50.0, known=False),
    ]
    assert names(first_to_go(each, 4, NOW)) == [
        "stranger",
        "stranger and fresh",
        "known",
        "known and fresh",
    ]
