"""A call's bytecodes are counted one by one, and a call that grew is told with the files."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import msgspec

from benchmarks.guard.__main__ import MARGIN, Record, compare, median_of
from benchmarks.guard.counting import Counting
from benchmarks.guard.plain_call import run
from gateway.money.text import usd

BEFORE = Record(python="3.11", total=1000, files={"gateway/a.py": 600, "gateway/b.py": 400})


def counted(amounts: list[int]) -> Counter[str]:
    counting = Counting()
    with counting.one():
        for amount in amounts:
            usd(amount)
    return counting.calls[0]


def test_twice_the_work_is_twice_the_bytecodes_and_only_the_packages_count() -> None:
    once, twice = counted([1_500]), counted([1_500, 1_500])
    assert list(once) == ["gateway/money/text.py"]
    assert twice.total() == 2 * once.total() > 0
    assert counted([]) == Counter()


def test_a_whole_gateway_answers_and_each_of_its_rooms_is_counted(tmp_path: Path) -> None:
    counting = Counting()
    run(tmp_path, counting, 2)
    rooms = {file.rpartition("/")[0] for file in counting.calls[-1]}
    assert rooms >= {"gateway/api/calls", "gateway/calls", "gateway/routing", "adapters/http"}


def test_the_call_in_the_middle_is_told() -> None:
    calls = [Counter({"gateway/a.py": each}) for each in (5, 900, 7)]
    assert median_of(calls).total == 7


def test_what_has_grown_too_much_is_told_by_file() -> None:
    most = round(BEFORE.total * MARGIN)
    at_most = msgspec.structs.replace(BEFORE, total=1000 + most)
    assert compare(at_most, BEFORE)[0] is False
    files = {"gateway/a.py": 600, "gateway/b.py": 300, "gateway/c.py": 121 + most}
    grown, said = compare(Record(python="3.11", total=1001 + most, files=files), BEFORE)
    assert grown
    assert f"+{121 + most} gateway/c.py" in said
    assert "a.py" not in said


def test_another_python_compiles_to_other_bytecodes() -> None:
    other = msgspec.structs.replace(BEFORE, python="3.13", total=5000)
    assert compare(other, BEFORE) == (False, "recorded under Python 3.11: nothing to compare")
