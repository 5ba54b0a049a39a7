"""What is stated against whom: nginx, the best router of the run, the plain gateway."""

from __future__ import annotations

import pytest

from benchmarks.gateway.contenders import SETUPS
from benchmarks.gateway.figures import Alone, Check, Figures, Large, Round, StreamLevel
from benchmarks.gateway.stream_client import Streamed
from benchmarks.gateway.targets import beside_the_plain, best_router, checks


def ran(
    name: str, *cpu: float, apart: float = 0, p99: float = 2, per_second: float = 1000
) -> Figures:
    return Figures(
        name=name,
        rounds=tuple(
            Round(
                per_second=per_second,
                p50_ms=1,
                p99_ms=p99,
                cpu_us=one,
                apart_us=apart,
                failed=0,
                added_ms=0.3,
            )
            for one in cpu
        ),
    )


def among(*figures: Figures) -> dict[str, Figures]:
    return {one.name: one for one in figures}


def found(*figures: Figures) -> dict[tuple[str, str], Check]:
    return {(one.what, one.unit): one for one in checks(among(*figures), None)}


def streamed(name: str, delta_us: float) -> Figures:
    seen = Streamed(
        streams=256, wanted=256, complete=256, stalled=0, worst_gap=0, deltas=1, refused=0
    )
    return Figures(name=name, levels=(StreamLevel(streamed=seen, delta_us=delta_us),))


def test_the_cpu_of_a_call_is_stated_against_nginx_and_the_best_router() -> None:
    seen = found(
        ran("nginx", 20, 20),
        ran("smg", 90, 90),
        ran("vllm-router", 50, 50),
        ran("spillgate", 100, 120),
    )
    passed = "CPU a call, passed on"
    assert seen[passed, "x nginx"].value.median == pytest.approx(5.5)
    assert seen[passed, "x vllm-router"].value.median == pytest.approx(2.2)
    assert (passed, "x smg") not in seen


def test_the_best_router_is_that_of_each_measure() -> None:
    """One may be the cheapest and another the one with the shortest tail."""
    runs = among(ran("smg", 50, p99=9), ran("sglang-router", 80, p99=3))
    cheapest = best_router(runs, lambda one: one.cpu_us)
    shortest = best_router(runs, lambda one: one.p99_ms)
    assert cheapest is not None
    assert shortest is not None
    assert (cheapest.name, shortest.name) == ("smg", "sglang-router")


def test_a_router_that_failed_or_is_missing_is_not_the_best_one() -> None:
    runs = among(Figures(name="smg", error="no", missing=True), ran("vllm-router", 70))
    best = best_router(runs, lambda one: one.cpu_us)
    assert best is not None
    assert best.name == "vllm-router"
    assert best_router(among(Figures(name="smg", error="no")), lambda one: one.cpu_us) is None


def test_a_contender_that_failed_takes_its_targets_with_it() -> None:
    seen = found(Figures(name="nginx", error="did not start"), ran("spillgate", 200))
    assert [what for what, _ in seen] == ["added latency, p50"]


def test_requests_a_second_are_stated_against_litellm() -> None:
    seen = found(ran("litellm", 9, per_second=10), ran("spillgate", 9, per_second=700))
    assert seen["requests/s, one worker", "x litellm"].verdict == "pass"


def test_a_delta_is_stated_against_the_router_that_takes_least_for_it() -> None:
    seen = found(streamed("smg", 40), streamed("sglang-router", 20), streamed("spillgate", 30))
    assert seen["CPU a delta", "x sglang-router"].value.median == pytest.approx(1.5)
    assert seen["streams without a gap", "streams"].verdict == "FAIL"


def test_what_a_large_body_adds_is_stated_against_what_it_adds_to_nginx() -> None:
    def large(name: str, *bodies: float) -> Figures:
        return Figures(
            name=name,
            large=tuple(Large(plain_us=20, body_us=one, answer_us=20) for one in bodies),
        )

    seen = found(large("nginx", 120, 19, 70), large("spillgate", 320, 400, 220))
    value = seen["256 KiB body, CPU added", "x nginx"].value
    assert (value.low, value.high) == (3, 4), "a round in which nginx added nothing says nothing"


def test_a_setup_is_stated_beside_the_plain_gateway_with_what_its_stores_take() -> None:
    runs = among(ran("spillgate", 100, 200), ran("spillgate-redis", 100, 200, apart=50))
    ((name, value),) = beside_the_plain(runs)
    assert (name, value.low, value.high) == ("spillgate-redis", 1.25, 1.5)
    assert name in SETUPS
    assert beside_the_plain(among(ran("spillgate-redis", 1))) == []


def alone(**more: object) -> Alone:
    given = {"idle_mib": 40, "warm_mib": 43, "after_mib": 44, "calls": 100_000}
    return Alone(**{**given, "ready_s": (0.2,), "import_s": (0.1,), **more})  # type: ignore[arg-type]


def test_memory_is_judged_by_what_it_grew_since_it_was_idle() -> None:
    seen = {one.what: one for one in checks({}, alone())}
    assert seen["memory grown after 100,000 calls"].value.median == 4
    assert seen["process start to /readyz"].verdict == "aim"
    assert "memory grown after 0 streams" not in seen


def test_memory_of_streams_is_judged_where_it_was_measured() -> None:
    seen = {one.what: one for one in checks({}, alone(streams=9_900, streams_mib=20.0))}
    assert seen["memory grown after 9,900 streams"].verdict == "pass"
