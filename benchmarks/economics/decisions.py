"""How much CPU one look of the planner takes, and one decision between 20 backends."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence

from adapters.types import Capabilities
from gateway.planning.planner import Planner, Seen
from gateway.planning.starts import StartSamples
from gateway.policy.model import Route
from gateway.policy.sections.price import Price
from gateway.replay.planned import DEFAULTS, rule_of
from gateway.replay.platforms import PLATFORMS
from gateway.replay.traffic import Traffic
from gateway.routing.forecast import BackendLoad, RunTime
from gateway.routing.router import Candidate, RoutingRequest, decide

_WARMUP, _MEASURED = 2_000, 10_000
_BACKENDS = 20


def look_us(traffic: Traffic, seed: int = 1) -> tuple[float, float]:
    """(Median, 99th percentile) of a look, in microseconds, after some thousand of them."""
    platform, draw = PLATFORMS["runpod"], random.Random(seed)
    planner = Planner(rule_of(traffic, platform, DEFAULTS), StartSamples(platform.starts), 0.0)
    load = 0

    def look(number: int) -> None:
        nonlocal load
        load = max(0, load + draw.choice((-2, -1, 0, 0, 1, 3 if draw.random() < 0.2 else 0)))
        overdue, waiting = min(load, draw.randrange(load + 1)), load // 10
        planner.look(number * 0.5, Seen(load, overdue, waiting, max(1, load - waiting)))

    return _measured(look)


def decision_us() -> tuple[float, float]:
    """The same of a decision between 20 backends, of which some are cold."""
    capabilities = Capabilities(tasks=frozenset(("chat",)), streaming=True)
    route = Route(name="all", use=tuple(f"b{n}" for n in range(_BACKENDS)))
    question = RoutingRequest("chat", False, 2000, 500)
    candidates = [_candidate(number, capabilities) for number in range(_BACKENDS)]
    return _measured(lambda _: decide(question, candidates, route, 2.0, lambda: 0.5))


def _candidate(number: int, capabilities: Capabilities) -> Candidate:
    is_cold = number % 2 == 1
    return Candidate(
        f"b{number}",
        Price(per_second=1_160_000 + number, bills=("start", "run", "idle")),
        capabilities,
        None,
        BackendLoad(number, 8, number % 3 if is_cold else 0, None),
        RunTime.prior(2.0),
        9.0 if is_cold else None,
        600.0,
    )


def _measured(step: Callable[[int], object]) -> tuple[float, float]:
    for number in range(_WARMUP):
        step(number)
    taken = []
    for number in range(_WARMUP, _WARMUP + _MEASURED):
        begin = time.thread_time_ns()
        step(number)
        taken.append(time.thread_time_ns() - begin)
    return _quantile(sorted(taken), 0.5), _quantile(sorted(taken), 0.99)


def _quantile(ranked: Sequence[int], share: float) -> float:
    return ranked[int(share * (len(ranked) - 1))] / 1000
