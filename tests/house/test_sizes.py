"""Files and functions stay small."""

from __future__ import annotations

import statistics

from scripts.house.source import length_of
from tests.house.tree import CODE, SOURCE, functions, name, needs_git

pytestmark = needs_git


def test_no_file_is_longer_than_400_lines() -> None:
    lengths = {name(path): len(path.read_text().splitlines()) for path in CODE}
    assert {path: count for path, count in lengths.items() if count > 400} == {}


def test_no_function_is_longer_than_60_lines() -> None:
    long = [
        f"{name(path)}:{node.lineno} {node.name}: {length_of(node)}"
        for path in CODE
        for node in functions(path)
        if length_of(node) > 60
    ]
    assert long == []


def test_most_functions_fit_on_a_third_of_a_page() -> None:
    lengths = sorted(length_of(node) for path in SOURCE for node in functions(path))
    assert statistics.median(lengths) <= 12
    assert lengths[len(lengths) * 9 // 10] <= 30
