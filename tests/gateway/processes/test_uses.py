"""Each process knows how many calls all others have at a backend."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.backends.use_in_all import NONE, BackendUse
from gateway.processes.messages import UsedByOthers
from gateway.processes.uses import UsesOfAll


def test_each_is_told_what_the_others_have() -> None:
    uses = UsesOfAll()
    one, two = BackendUse(3, 0, 3, 0), BackendUse(1, 1, 9, 7)
    assert [*uses.hear(1, "b", one, [1, 2, 3])] == [
        (2, UsedByOthers("b", one)),
        (3, UsedByOthers("b", one)),
    ]
    assert [*uses.hear(2, "b", two, [1, 2, 3])] == [
        (1, UsedByOthers("b", two)),
        (3, UsedByOthers("b", one + two)),
    ]


def test_one_that_comes_is_told_what_there_was_before_it() -> None:
    uses = UsesOfAll()
    [*uses.hear(1, "b", BackendUse(3, 0, 3, 0), [1])]
    assert [*uses.begin(2)] == [UsedByOthers("b", BackendUse(3, 0, 3, 0), first=True)]


def test_calls_end_with_their_process_and_what_it_has_done_stays() -> None:
    uses = UsesOfAll()
    [*uses.hear(1, "b", BackendUse(3, 1, 8, 4), [1, 2])]
    assert [*uses.end(1, [2])] == [(2, UsedByOthers("b", BackendUse(0, 0, 8, 4)))]
    assert [*uses.end(2, [])] == []


@given(
    st.lists(
        st.tuples(st.integers(1, 3), st.integers(0, 5), st.integers(0, 2), st.booleans()),
        max_size=40,
    )
)
def test_what_each_hears_is_the_sum_of_the_others(
    steps: list[tuple[int, int, int, bool]],
) -> None:
    uses, own, heard = UsesOfAll(), dict[int, BackendUse](), dict[int, BackendUse]()
    for process, calls, pings, ends in steps:
        if ends and process in own:
            del own[process]
            heard.pop(process, None)
            told = uses.end(process, [*own])
        else:
            own[process] = BackendUse(calls, pings)
            told = uses.hear(process, "b", own[process], [*own])
        heard |= {number: message.use for number, message in told}
        for number in own:
            others = sum((use for other, use in own.items() if other != number), NONE)
            assert number not in heard or heard[number] == others
