"""Contenders under the same load, in turns."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import msgspec

from benchmarks.entry import SETTLE, Entry, Say
from benchmarks.gateway.accounting import cpu_seconds, memory
from benchmarks.gateway.load import Answered, LoadFailed, post
from benchmarks.gateway.processes import StartFailed
from benchmarks.runtime.contenders import Contender, Running

AWAKE = 0.5
"""Seconds that a contender has to catch up on its own timers before it is measured."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How long and how much."""

    rounds: int = 5
    seconds: float = 4.0
    connections: int = 32
    blocks: int = 12
    """Of the unloaded calls, in turns."""
    block: int = 60


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """One contender in one round."""

    per_second: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    """CPU of all its processes, a request."""
    failed: int


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """All about one contender. ``error`` says why there is nothing."""

    name: str
    rounds: tuple[Round, ...] = ()
    rss_mib: float = 0.0
    """Of all its processes, each with torch where it has imported it."""
    processes: int = 0
    error: str = ""


Standing = Entry[Figures, Running]


def under_load(
    contenders: Sequence[Contender], plan: Plan, folder: Path, say: Say
) -> tuple[Figures, ...]:
    """All are started, and asked in turn, so that the machine's moods fall on all alike. Who is
    asked has it to himself: nobody serves one model four times.
    """
    with ExitStack() as stack:
        entries = [_start(contender, folder, stack, say) for contender in contenders]
        present = [(entry, entry.running) for entry in entries if entry.running]
        for _, running in present:
            with suppress(LoadFailed):  # the rounds will say so
                _load(running, 1, plan.connections)
        for _, running in present:
            running.child.pause()
        for number in range(plan.rounds):
            for entry, running in present:
                say(f"round {number + 1} of {plan.rounds}: {entry.figures.name}")
                with _awake(running):
                    _add_round(entry, running, plan)
        for entry, running in present:
            pids = running.pids()
            entry.note(rss_mib=memory(pids).rss, processes=len(pids))
    return tuple(entry.figures for entry in entries)


def _start(contender: Contender, folder: Path, stack: ExitStack, say: Say) -> Standing:
    say(f"starting {contender.name}")
    entry = Standing(Figures(name=contender.name))
    try:
        entry.running = contender.start(folder / contender.name)
    except StartFailed as error:
        entry.note(error=str(error))
    else:
        stack.callback(entry.running.child.stop)
    return entry


@contextmanager
def _awake(running: Running) -> Iterator[None]:
    running.child.resume()
    try:
        time.sleep(AWAKE)
        yield
    finally:
        running.child.pause()


def _add_round(entry: Standing, running: Running, plan: Plan) -> None:
    if entry.figures.error:
        return
    try:
        entry.note(rounds=(*entry.figures.rounds, _round(running, plan)))
    except LoadFailed as error:
        text = f"failed under load: {error}{running.child.log_tail()}"
        entry.note(error=text, rounds=())


def _round(running: Running, plan: Plan) -> Round:
    pids = running.pids()
    before = cpu_seconds(pids)
    seen = _load(running, plan.seconds, plan.connections)
    time.sleep(SETTLE)
    return Round(
        per_second=(seen.requests - seen.refused) / (seen.duration_us / 1e6),
        p50_ms=seen.p50_us / 1e3,
        p99_ms=seen.p99_us / 1e3,
        cpu_us=(cpu_seconds(pids) - before) * 1e6 / max(1, seen.requests),
        failed=seen.refused + seen.broken,
    )


def _load(running: Running, seconds: float, connections: int) -> Answered:
    return post(running.url, running.body, key="none", seconds=seconds, connections=connections)
