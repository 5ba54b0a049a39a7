"""The runtime's benchmark: its ratios, its verdicts, its table; and its bare loop's arithmetic."""

from __future__ import annotations

import os

import pytest

from benchmarks.gateway.table import insert
from benchmarks.runtime import inside
from benchmarks.runtime.__main__ import parse, plan_of
from benchmarks.runtime.alone import Alone, Unloaded
from benchmarks.runtime.contenders import ALL, NAMES
from benchmarks.runtime.framed import Stretch
from benchmarks.runtime.measure import Figures, Round
from benchmarks.runtime.report import BEGIN, END, Report, as_markdown, as_text, checks


def figures(name: str, *per_second: float, failed: int = 0) -> Figures:
    rounds = tuple(
        Round(per_second=one, p50_ms=1, p99_ms=2, cpu_us=3, failed=failed) for one in per_second
    )
    return Figures(name=name, rounds=rounds, rss_mib=100, processes=3)


def report(*all: Figures, alone: Alone | None = None) -> Report:
    return Report(
        date="2026-01-01",
        machine="a machine",
        versions={"spillgate": "1"},
        settings="3 rounds",
        figures=all,
        alone=alone,
    )


def test_a_ratio_is_taken_round_by_round() -> None:
    """A round in which the machine was slow slows both."""
    found = checks(report(figures("spillgate", 800, 80), figures("litserve", 100, 10)))
    assert [(one.unit, one.value.low, one.value.high) for one in found] == [("x LitServe", 8, 8)]
    assert found[0].verdict == "pass"


def test_what_is_under_its_limit_is_said_to_fail() -> None:
    (check,) = checks(report(figures("spillgate", 400), figures("litserve", 100)))
    assert check.verdict == "FAIL"


def test_a_contender_that_did_not_start_is_in_the_table_with_its_reason() -> None:
    broken = Figures(name="bentoml", error="could not be installed")
    text = as_text(report(figures("spillgate", 400), broken))
    assert ["bentoml", "failed"] in [line.split() for line in text.splitlines()]
    assert "bentoml: could not be installed" in text
    assert checks(report(figures("spillgate", 400), broken)) == []


def test_failed_requests_stand_beside_the_name() -> None:
    assert "litserve (4 failed)" in as_text(report(figures("litserve", 1, 1, failed=2)))


def test_what_is_measured_alone_has_targets_of_its_own() -> None:
    unloaded = (Unloaded(bare_ms=0.2, framed_ms=0.2, http_ms=0.6),)
    alone = Alone(
        overheads=(2.0,),
        unloaded=unloaded,
        resident_mib={"server": 40, "worker": 70},
        restarts_s={"none": (0.5, 0.4), "loaded": (0.01, 0.02)},
    )
    verdicts = {one.what: one.verdict for one in checks(report(alone=alone))}
    assert list(verdicts.values()) == ["pass", "aim", "FAIL", "FAIL", "FAIL", "pass", "aim"]


def test_the_markdown_goes_between_its_own_marks_of_the_page() -> None:
    page = f"before\n{BEGIN}\nold\n{END}\nafter"
    written = insert(page, as_markdown(report(figures("spillgate", 400))), BEGIN, END)
    assert written.startswith(f"before\n{BEGIN}")
    assert written.endswith(f"{END}\nafter")
    assert "old" not in written


def test_a_quick_run_may_still_be_given_its_rounds() -> None:
    plan = plan_of(parse(["--quick", "--rounds", "7"]))
    assert (plan.rounds, plan.seconds) == (7, 2.0)


def test_an_unknown_contender_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["--only", "spillgate,torchserve"])
    assert "torchserve is none of" in capsys.readouterr().err


def test_each_contender_but_ours_has_an_environment_of_its_own() -> None:
    folders = {one.environment.folder for one in ALL if one.environment}
    assert len(folders) == len(NAMES) - 1


def test_a_devices_time_is_at_most_the_time_that_has_passed() -> None:
    stretch = Stretch(os.getpid())
    rates = stretch.rates(10)
    assert 0 <= rates["device_us"] <= 1e6 / rates["per_second"] + 1


async def test_a_call_goes_through_both_loops_of_the_runtime_without_a_socket() -> None:
    """And each is answered, or the figure would be that of a refusal."""
    assert await inside.server(turns=2) > 0
    assert await inside.worker(turns=2) > 0
