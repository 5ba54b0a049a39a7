"""Any order of starts, deaths, silences and hand-overs, over the records of two workers and their
spare: what the supervisor's loops do, with neither processes nor time."""

from __future__ import annotations

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from local_runtime.supervisor.lifecycle import RestartPolicy, WorkerRecord, WorkerState

POLICY = RestartPolicy(start_timeout_s=30, silence_s=10, pause_s=0.25, max_pause_s=1, stable_s=20)
WORKERS, SPARE = (0, 1), 2
ALIVE = {WorkerState.STARTING, WorkerState.WAITING, WorkerState.READY, WorkerState.BUSY}
SERVING = {WorkerState.READY, WorkerState.BUSY}
JITTERS = st.floats(0, 0.999)
SLOTS = st.sampled_from(WORKERS)
ANY = st.sampled_from((*WORKERS, SPARE))


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """One death, as far as the pause after it depends on it."""

    failures: int
    pause_s: float
    was_ready: bool
    forgiven: bool
    """It was ready for so long that what went before does not count."""


class LifeCycles(RuleBasedStateMachine):
    """Three records, the processes that they stand for, and a clock."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.pids = iter(range(1, 1_000_000))
        self.records = [WorkerRecord(index=index) for index in (*WORKERS, SPARE)]
        self.processes: dict[int, int] = {}
        """Every process that lives, and whose it is."""
        self.ends: dict[int, list[Ended]] = {0: [], 1: [], 2: []}
        self.given_up: set[int] = set()
        self.closing = False

    # --- what the loops do ------------------------------------------------------------------

    def due(self, index: int) -> bool:
        at = self.records[index].retry_at
        return not self.closing and at is not None and at <= self.now

    @rule(index=ANY)
    def start(self, index: int) -> None:
        """From the spare where it waits, else from scratch."""
        if not self.due(index):
            return
        spare = self.records[SPARE]
        if index in WORKERS and spare.state is WorkerState.WAITING:
            pid = spare.pid
            self.records[SPARE] = spare.promoted(self.now, POLICY)
            self.ends[SPARE].clear()
        else:
            pid = next(self.pids)
        self.processes[pid] = index
        self.records[index] = self.records[index].started(self.now, pid)

    @rule(index=ANY)
    def gets_ready(self, index: int) -> None:
        record = self.records[index]
        if record.state is WorkerState.STARTING:
            done = record.waits if index == SPARE else record.became_ready
            self.records[index] = done(self.now)

    @rule(index=SLOTS, running=st.integers(0, 3))
    def beats(self, index: int, running: int) -> None:
        if self.records[index].state in SERVING:
            self.records[index] = self.records[index].beat(self.now, running)

    @rule(index=ANY, permanent=st.sampled_from((False, False, False, True)), jitter=JITTERS)
    def dies(self, index: int, permanent: bool, jitter: float) -> None:
        """It crashes, exits or is killed."""
        if self.records[index].state in ALIVE:
            self.bury(index, permanent, jitter)

    @rule(seconds=st.floats(0, 40), jitter=JITTERS)
    def time_passes(self, seconds: float, jitter: float) -> None:
        """Whoever is silent for too long is killed."""
        self.now += seconds
        for index, record in enumerate(self.records):
            if record.state in ALIVE and record.kill_at(POLICY) <= self.now:
                assert record.state is not WorkerState.WAITING
                self.bury(index, permanent=False, jitter=jitter)

    @precondition(lambda self: not self.closing)
    @rule(really=st.sampled_from((False, False, False, True)))
    def closes(self, really: bool) -> None:
        """Everything ends, and nothing is started again."""
        self.closing = really
        for index, record in enumerate(self.records):
            if really and record.state in ALIVE:
                self.bury(index, permanent=False, jitter=0.0)

    def bury(self, index: int, permanent: bool, jitter: float) -> None:
        before = self.records[index]
        after = before.ended(self.now, POLICY, detail="x", permanent=permanent, jitter=jitter)
        del self.processes[before.pid]
        self.records[index] = after
        if permanent:
            self.given_up.add(index)
            return
        assert after.retry_at is not None
        was_ready = before.state is not WorkerState.STARTING
        self.ends[index].append(
            Ended(
                failures=after.failures,
                pause_s=after.retry_at - self.now,
                was_ready=was_ready,
                forgiven=was_ready and self.now - before.since >= POLICY.stable_s,
            )
        )

    # --- what always holds ------------------------------------------------------------------

    @invariant()
    def no_place_has_two_processes(self) -> None:
        owners = list(self.processes.values())
        assert len(owners) == len(set(owners))
        for index, record in enumerate(self.records):
            owned = [pid for pid, owner in self.processes.items() if owner == index]
            assert owned == ([record.pid] if record.state in ALIVE else [])

    @invariant()
    def a_pause_is_bounded_and_grows_with_the_failures_in_a_row(self) -> None:
        for ends in self.ends.values():
            failures = 0
            for end in ends:
                failures = 1 if end.forgiven else failures + 1
                assert end.failures == failures
                if end.was_ready and failures == 1:
                    assert end.pause_s == 0
                else:
                    plain = min(POLICY.max_pause_s, POLICY.pause_s * 2 ** (failures - 1))
                    assert plain - 1e-6 <= end.pause_s <= plain * 1.25 + 1e-6

    @invariant()
    def what_was_given_up_stays_so(self) -> None:
        for index in self.given_up:
            assert self.records[index].state is WorkerState.DEFUNCT
            assert not self.due(index)

    @invariant()
    def nothing_lives_after_the_end(self) -> None:
        assert not (self.closing and self.processes)

    @invariant()
    def a_spare_never_serves_and_a_worker_never_waits(self) -> None:
        assert self.records[SPARE].state not in SERVING
        assert all(self.records[index].state is not WorkerState.WAITING for index in WORKERS)

    @invariant()
    def whoever_does_not_run_is_due_or_given_up(self) -> None:
        """No place is forgotten."""
        for index, record in enumerate(self.records):
            if record.state not in ALIVE:
                assert (record.retry_at is None) == (index in self.given_up)


LifeCycles.TestCase.settings = settings(max_examples=120, stateful_step_count=60, deadline=None)
test_any_order_of_events_leaves_every_worker_in_order = LifeCycles.TestCase
