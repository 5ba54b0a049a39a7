"""Arrows, circles and storeys."""

from __future__ import annotations

import itertools

from scripts.house.graph import circles, neighbours, storeys


def drawn(arrows: str) -> dict[str, set[str]]:
    """``a>b b>c`` as a graph."""
    pairs = [(one[0], one[2]) for one in arrows.split()]
    return neighbours({node for pair in pairs for node in pair}, pairs)


def test_a_room_without_arrows_is_one_storey() -> None:
    assert storeys(neighbours(["a"], [])) == 1


def test_nothing_has_no_storey() -> None:
    assert storeys({}) == 0


def test_the_longest_chain_counts_and_a_short_cut_does_not() -> None:
    assert storeys(drawn("a>b b>c c>d a>d e>d")) == 4


def test_a_circle_is_one_storey() -> None:
    assert storeys(drawn("a>b b>c c>b c>d")) == 3


def test_a_circle_is_found_whole_and_once() -> None:
    assert circles(drawn("a>b b>c c>d d>b d>e")) == [("b", "c", "d")]


def test_two_circles_that_touch_by_one_arrow_stay_two() -> None:
    graph = drawn("a>b b>a b>c c>d d>c")
    assert circles(graph) == [("a", "b"), ("c", "d")]
    assert storeys(graph) == 2


def test_an_arrow_to_itself_is_no_circle() -> None:
    assert circles(drawn("a>a")) == []


def test_a_chain_of_thousands_is_walked_without_recursion() -> None:
    nodes = [f"{number:05}" for number in range(5000)]
    assert storeys(neighbours(nodes, itertools.pairwise(nodes))) == 5000
