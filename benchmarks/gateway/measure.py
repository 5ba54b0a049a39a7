"""The run: contenders in turns under the same load, then under more and more streams."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

import msgspec

from benchmarks.entry import SETTLE, Entry, Say
from benchmarks.gateway.accounting import cpu_seconds, memory
from benchmarks.gateway.contenders.base import Contender, Running
from benchmarks.gateway.figures import Figures, Large, Round, StreamLevel
from benchmarks.gateway.latency import AnswerCut, added_ms
from benchmarks.gateway.load import LoadFailed, put_load
from benchmarks.gateway.processes import Missing, StartFailed
from benchmarks.gateway.stream_client import ask_in_process
from benchmarks.gateway.target import LARGE, WANTS_LARGE, Target
from benchmarks.gateway.upstream import start_answers, start_streams

Standing = Entry[Figures, Running]


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How long and how much."""

    rounds: int = 5
    seconds: float = 4.0
    connections: int = 32
    large: bool = True
    """Whether large bodies and answers are asked for as well, in half as long."""
    pairs: int = 400
    """Requests at one connection, each of them beside one to the upstream itself."""
    levels: tuple[int, ...] = (64, 128, 256, 512, 768, 1024, 2048)
    repeat: int = 2
    """Streams that each connection carries, one after another, at each level."""
    attempts: int = 2
    """A level that fails is tried so often: a gap may be the machine's."""


def under_load(
    contenders: Sequence[Contender], plan: Plan, folder: Path, say: Say
) -> dict[str, Standing]:
    """Requests/s, latency, CPU and memory. A contender that does not start has only an error."""
    with ExitStack() as stack:
        upstream, target = start_answers(folder)
        stack.enter_context(upstream)
        entries = _start(contenders, target, folder / "load", stack, say)
        large = {one.name for one in contenders if one.large}
        present = [(entry, entry.running) for entry in entries.values() if entry.running]
        for _, running in present:
            with suppress(LoadFailed):  # the rounds will say so
                put_load(running.target, seconds=1, connections=plan.connections)
        for number in range(plan.rounds):
            for entry, running in present:
                say(f"round {number + 1} of {plan.rounds}: {entry.figures.name}")
                _add_round(
                    entry, running, target, plan, large=plan.large and entry.figures.name in large
                )
        for entry, running in present:
            used = memory(running.family().own)
            entry.note(pss_mib=used.pss, rss_mib=used.rss)
    return entries


def _add_round(
    entry: Standing, running: Running, direct: Target, plan: Plan, *, large: bool
) -> None:
    """A contender that fails under load keeps its place in the table, with the reason."""
    if entry.figures.error:
        return
    try:
        seen = _round(running, direct, plan)
        entry.note(rounds=(*entry.figures.rounds, seen))
        if large and not entry.figures.large_error:
            _add_large(entry, running, seen.cpu_us, plan)
    except (LoadFailed, AnswerCut, OSError) as error:
        log = running.child.log_tail() if running.child else ""
        entry.note(error=f"failed under load: {error}{log}", rounds=())


def under_streams(
    contenders: Sequence[Contender],
    entries: dict[str, Standing],
    plan: Plan,
    folder: Path,
    say: Say,
) -> None:
    """Adds to ``entries`` how many paced streams each contender carries without a gap."""
    able = [one for one in contenders if one.streams and not entries[one.name].figures.error]
    with ExitStack() as stack:
        upstream, target = start_streams(folder)
        stack.enter_context(upstream)
        started = _start(able, target, folder / "streams", stack, say)
        alive = [(entries[name], each.running) for name, each in started.items() if each.running]
        for level in plan.levels:
            alive = [pair for pair in alive if _climb(*pair, level, plan, say)]


def _start(
    contenders: Sequence[Contender], upstream: Target, folder: Path, stack: ExitStack, say: Say
) -> dict[str, Standing]:
    entries: dict[str, Standing] = {}
    for contender in contenders:
        say(f"starting {contender.name}")
        entry = entries[contender.name] = Standing(Figures(name=contender.name))
        begun = time.monotonic()
        try:
            entry.running = contender.start(upstream, folder / contender.name)
        except StartFailed as error:
            entry.note(error=str(error), missing=isinstance(error, Missing))
            continue
        stack.callback(entry.running.stop)
        entry.note(start_s=time.monotonic() - begun)
    return entries


def _round(running: Running, direct: Target, plan: Plan) -> Round:
    family = running.family()
    own, apart = cpu_seconds(family.own), cpu_seconds(family.apart)
    seen = put_load(running.target, seconds=plan.seconds, connections=plan.connections)
    time.sleep(SETTLE)
    requests = max(1, seen.requests)
    return Round(
        per_second=seen.per_second,
        p50_ms=seen.p50_us / 1e3,
        p99_ms=seen.p99_us / 1e3,
        cpu_us=(cpu_seconds(family.own) - own) * 1e6 / requests,
        apart_us=(cpu_seconds(family.apart) - apart) * 1e6 / requests,
        failed=seen.refused + seen.broken,
        added_ms=added_ms(direct, running.target, pairs=plan.pairs, budget=plan.seconds / 2),
    )


def _add_large(entry: Standing, running: Running, plain_us: float, plan: Plan) -> None:
    """One that fails at large calls keeps its other figures."""
    try:
        entry.note(large=(*entry.figures.large, _large(running, plain_us, plan)))
    except LoadFailed as error:
        entry.note(large=(), large_error=str(error))


def _large(running: Running, plain_us: float, plan: Plan) -> Large:
    """Raises LoadFailed where a large one is not answered."""
    body, answer = (_cost(running, size, plan) for size in (LARGE, WANTS_LARGE))
    return Large(plain_us=plain_us, body_us=body, answer_us=answer)


def _cost(running: Running, size: int, plan: Plan) -> float:
    """CPU of its own processes, a request, in us."""
    own = running.family().own
    before = cpu_seconds(own)
    seen = put_load(
        running.target, seconds=plan.seconds / 2, connections=plan.connections, size=size
    )
    if seen.refused or not seen.requests:
        raise LoadFailed(
            f"of large calls {seen.requests} were answered, {seen.refused} refused, "
            f"{seen.broken} broken"
        )
    time.sleep(SETTLE)
    return (cpu_seconds(own) - before) * 1e6 / seen.requests


def _climb(entry: Standing, running: Running, level: int, plan: Plan, say: Say) -> bool:
    """Tries one level; False where the contender goes no further."""
    best: StreamLevel | None = None
    for _ in range(plan.attempts):
        say(f"{level} streams: {entry.figures.name}")
        tried = _level(running, level, plan)
        if best is None or tried.streamed.complete > best.streamed.complete:
            best = tried
        if tried.streamed.smooth:
            best = tried
            break
    assert best is not None
    entry.note(levels=(*entry.figures.levels, best))
    return best.streamed.smooth


def _level(running: Running, level: int, plan: Plan) -> StreamLevel:
    own = running.family().own
    before = cpu_seconds(own)
    streamed = ask_in_process(running.target, level, plan.repeat)
    used = cpu_seconds(own) - before
    return StreamLevel(streamed=streamed, delta_us=used * 1e6 / max(1, streamed.deltas))
