"""Keys whose jobs wait have equal parts of the backends' time, however long a job of each runs."""

from __future__ import annotations

import heapq
import itertools
from collections import Counter, defaultdict

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.jobs.turns import JobTurns
from gateway.storage.jobs.base import StoredJob

_NUMBERS = itertools.count()
EACH_S = 2.0
KEYS = st.dictionaries(st.sampled_from("abcdef"), st.floats(0.1, 20.0), min_size=2, max_size=6)


def job(key_id: str, rank: int = 1) -> StoredJob:
    return StoredJob(
        id=f"job_{next(_NUMBERS)}",
        state="queued",
        model="any",
        task="infer",
        key_id=key_id,
        user=key_id,
        rank=rank,
        created_at=0.0,
        deadline=1e9,
        keep_s=0.0,
    )


class Slots:
    """So many jobs run at once; a key that is in ``runs_s`` always has another that waits. Whoever
    is next is chosen as every store does: by what is owed, and what is on its way."""

    def __init__(self, slots: int) -> None:
        self.turns = JobTurns()
        self.now = 0.0
        self.had = defaultdict[str, float](float)
        """Seconds of a slot, those of jobs that run included."""
        self._slots = slots
        self._running: list[tuple[float, str, float, StoredJob]] = []

    def run(self, runs_s: dict[str, float], until: float) -> None:
        while self.now < until:
            while len(self._running) < self._slots:
                self._begin(runs_s)
            self.now, _, begun, done = heapq.heappop(self._running)
            self.turns.left(done, self.now - begun)

    def _begin(self, runs_s: dict[str, float]) -> None:
        running = [(one, self.now - begun) for _, _, begun, one in self._running]
        owed = self.turns.owed("any", EACH_S, running)
        busy = Counter(one.key_id for one, _ in running)
        key = min(runs_s, key=lambda key: (owed.get((1, key), 0.0) + busy[key], key))
        taken = job(key)
        self.turns.taken([taken], lambda _: EACH_S)
        self.had[key] += runs_s[key]
        heapq.heappush(self._running, (self.now + runs_s[key], taken.id, self.now, taken))


@settings(deadline=None)
@given(KEYS, st.integers(1, 4))
def test_keys_that_wait_all_the_time_have_equal_parts(runs_s: dict[str, float], slots: int) -> None:
    line = Slots(slots)

    line.run(runs_s, 300.0)

    had = [line.had[key] for key in runs_s]
    if slots <= len(runs_s):
        assert max(had) - min(had) <= (slots + 1) * (EACH_S + max(runs_s.values()))


@settings(deadline=None)
@given(KEYS)
def test_a_key_that_comes_later_has_its_part_from_then_on_and_no_more(
    runs_s: dict[str, float],
) -> None:
    line = Slots(1)
    [first, *_] = runs_s
    line.run({first: runs_s[first]}, 600.0)
    before = line.had.copy()

    line.run(runs_s, line.now + 300.0)

    had = [line.had[key] - before[key] for key in runs_s]
    assert max(had) - min(had) <= 2 * (EACH_S + max(runs_s.values()))


def test_turns_of_one_rank_are_none_of_another() -> None:
    turns, high = JobTurns(), job("a", rank=2)
    turns.taken([high], lambda _: EACH_S)

    turns.left(high, 10.0)

    assert turns.owed("any", EACH_S, []) == {(2, "a"): 5.0}


def test_who_is_behind_nobody_is_forgotten() -> None:
    turns = JobTurns()
    for one in (job("a"), job("b"), job("a")):
        turns.taken([one], lambda _: EACH_S)
        turns.left(one, EACH_S)

    assert turns.owed("any", EACH_S, []) == {(1, "a"): 1.0}
