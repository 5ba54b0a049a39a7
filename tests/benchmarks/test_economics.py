"""The replay of a trace: every call runs once, seconds count once, a seed gives one result."""

from __future__ import annotations

import gzip
from pathlib import Path

import msgspec
import pytest

from benchmarks.economics.platforms import PLATFORMS, RESERVED_PER_S, Platform
from benchmarks.economics.replay import replay
from benchmarks.economics.report import Row, as_table
from benchmarks.economics.traces import Arrival, Trace, load, made_up, read_arrivals

MODAL = PLATFORMS["modal"]
AT_ONCE = Platform("at once", 0.001, 1.0, 1.0, idle_s=0.0)


def trace(*arrivals: tuple[float, float], slo_s: float = 2.0, **more: float) -> Trace:
    calls = [Arrival(at, runs_s) for at, runs_s in arrivals]
    return Trace("own", calls, slo_s, 0.0, arrivals[-1][0] + 60.0, **more)


def test_a_call_alone_pays_its_start_its_run_and_no_more() -> None:
    found = replay(trace((10.0, 5.0)), AT_ONCE, late_s=0.0)
    assert (found.calls, found.in_time, found.reserved) == (1, 1.0, 0.0)
    # The start takes a second; the worker is let go at the look after the end of its call.
    assert found.serverless == pytest.approx((1.0 + 5.0 + 0.5) * 0.001 * 1000, abs=0.51)


def test_every_call_runs_whatever_comes() -> None:
    whole = made_up(seed=3, hours=2.0)
    found = replay(whole, MODAL)
    judged = [one for one in whole.arrivals if one.at >= whole.judged_from]
    assert found.calls == len(judged)
    work = sum(one.runs_s for one in judged) / (whole.judged_until - whole.judged_from)
    assert found.mean_workers > work
    assert found.in_time > 0.97


def test_the_same_seed_gives_the_same_result_and_another_one_a_like_one() -> None:
    whole = made_up()
    first, again, other = (replay(whole, MODAL, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert other.cost == pytest.approx(first.cost, rel=0.1)


def test_steady_load_is_reserved() -> None:
    steady = trace(*((float(at), 2.9) for at in range(4 * 3600)))
    late = msgspec.structs.replace(steady, judged_from=2 * 3600.0)
    found = replay(late, MODAL)
    # Three calls are always at work: three workers, which pay, and hardly any other.
    assert found.reserved == pytest.approx(3 * RESERVED_PER_S * 1000, rel=0.34)
    assert found.serverless < 0.05 * found.reserved
    assert found.in_time == 1.0


def test_a_scaled_trace_has_so_many_times_the_calls() -> None:
    whole = made_up()
    scaled = whole.scaled(1.5)
    assert len(scaled.arrivals) == pytest.approx(1.5 * len(whole.arrivals), rel=0.05)
    assert scaled.arrivals == sorted(scaled.arrivals, key=lambda one: one.at)


def test_recordings_are_read_plain_or_packed_by_seconds_or_by_tokens(tmp_path: Path) -> None:
    plain, packed = tmp_path / "plain.csv", tmp_path / "packed.csv.gz"
    plain.write_text("t,status,exec_s\n7,SUCCEED,3\n5,FAILED,\n6,SUCCEED,2.5\n")
    packed.write_bytes(gzip.compress(b"t,in_tok,out_tok\n0.5,10,45\n"))
    assert read_arrivals(plain) == [Arrival(6.0, 2.5), Arrival(7.0, 3.0)]
    [arrival] = read_arrivals(packed)
    assert arrival.at == 0.5
    assert arrival.runs_s == pytest.approx(1.0)


def test_a_line_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.csv"
    path.write_text("t,exec_s\n1,2\nsoon,2\n")
    with pytest.raises(ValueError, match=r"broken\.csv line 3"):
        read_arrivals(path)
    with pytest.raises(OSError, match="azure2023"):
        load("azure", tmp_path)


def test_the_table_has_a_line_for_each_result() -> None:
    found = replay(trace((1.0, 1.0)), MODAL)
    text = as_table([Row("own", "modal", found)])
    assert text.splitlines()[2].startswith("| own | modal | 1 | ")
