"""The arithmetic of the table: medians, ratios round by round, targets, drawing."""

from __future__ import annotations

import msgspec
import pytest

from benchmarks.gateway.figures import (
    Check,
    Figures,
    Large,
    Round,
    Spread,
    StreamLevel,
    ratio,
    spread,
)
from benchmarks.gateway.load import LoadFailed, parse_wrk
from benchmarks.gateway.stream_client import Streamed
from benchmarks.gateway.table import (
    BEGIN,
    END,
    Report,
    as_markdown,
    as_text,
    contender_row,
    insert,
    large_row,
    marked,
    number,
    plain,
    ranged,
)

WRK = """\
Running 2s test @ http://127.0.0.1:1/v1/chat/completions
  1 threads and 32 connections
  1000 requests in 2.00s, 0.80MB read
result {"requests":1000,"duration_us":2000000,"p50_us":552,"p99_us":19098,"refused":3,"broken":1}
"""


def rounds(
    *cpu: float, per_second: float = 1000.0, added: float | None = None
) -> tuple[Round, ...]:
    return tuple(
        Round(
            per_second=per_second,
            p50_ms=1.0,
            p99_ms=2.0,
            cpu_us=one,
            apart_us=0.0,
            failed=0,
            added_ms=added,
        )
        for one in cpu
    )


def level(streams: int, *, complete: int | None = None, stalled: int = 0) -> StreamLevel:
    streamed = Streamed(
        streams=streams,
        wanted=streams,
        complete=streams if complete is None else complete,
        stalled=stalled,
        worst_gap=0.02,
        deltas=64 * streams,
        refused=0,
    )
    return StreamLevel(streamed=streamed, delta_us=float(streams))


def test_what_wrk_reports_is_read_from_the_line_of_the_script() -> None:
    seen = parse_wrk(WRK)
    assert (seen.per_second, seen.p50_us, seen.p99_us) == (500.0, 552.0, 19098.0)
    assert (seen.refused, seen.broken) == (3, 1)


def test_wrk_that_says_nothing_is_a_failure_and_not_a_zero() -> None:
    with pytest.raises(LoadFailed, match="unable to connect"):
        parse_wrk("unable to connect to 127.0.0.1:1 Connection refused\n")


def test_a_spread_is_the_median_between_the_extremes() -> None:
    assert spread([3.0, 1.0, 2.0, 9.0]) == Spread(2.5, 1.0, 9.0)


def test_a_ratio_is_taken_within_each_round() -> None:
    """A slow round that slows both sides twice leaves the ratio as it is."""
    assert ratio([100.0, 200.0], [50.0, 100.0]) == Spread(2.0, 2.0, 2.0)


def test_rounds_without_a_partner_are_an_error() -> None:
    with pytest.raises(ValueError):
        ratio([1.0], [1.0, 2.0])


@pytest.mark.parametrize(
    ("value", "at_least", "verdict"),
    [
        (1.0, False, "aim"),
        (1.3, False, "pass"),
        (1.7, False, "FAIL"),
        (1.7, True, "aim"),
        (1.3, True, "pass"),
        (0.9, True, "FAIL"),
    ],
)
def test_a_target_is_met_at_its_limit_and_praised_at_its_aim(
    value: float, at_least: bool, verdict: str
) -> None:
    limit, aim = (1.0, 1.6) if at_least else (1.6, 1.0)
    check = Check(what="x", value=spread([value]), limit=limit, aim=aim, unit="", at_least=at_least)
    assert check.verdict == verdict


def test_the_most_streams_are_those_of_the_last_smooth_level() -> None:
    figures = Figures(name="x", levels=(level(64), level(512), level(768, stalled=1)))
    assert figures.smooth_streams == 512


def test_a_stream_that_did_not_end_is_not_smooth() -> None:
    assert Figures(name="x", levels=(level(64, complete=63),)).smooth_streams == 0


def test_the_cost_of_a_delta_is_taken_where_the_machine_is_not_full() -> None:
    assert Figures(name="x", levels=(level(64), level(256), level(512))).delta_us == 256.0


def test_numbers_keep_about_three_digits() -> None:
    assert [number(value) for value in (12345.6, 123.4, 12.34, 1.234)] == [
        "12,346",
        "123",
        "12.3",
        "1.23",
    ]


def test_a_spread_of_one_value_is_that_value() -> None:
    assert ranged(Spread(2.0, 2.0, 2.0)) == "2.00"
    assert ranged(Spread(2.0, 1.0, 3.0)) == "2.00 (1.00–3.00)"


def test_a_contender_that_failed_keeps_its_row() -> None:
    assert contender_row(Figures(name="x", error="no"))[:2] == ("x", "failed")


def test_a_contender_that_is_not_to_be_had_is_missing_and_has_not_failed() -> None:
    absent = Figures(name="x", error="no package", missing=True)
    assert contender_row(absent)[:2] == ("x", "missing")
    assert "x: no package" in as_text(msgspec.structs.replace(report(), figures=(absent,)))


def test_large_calls_have_a_table_of_what_they_cost_and_what_of_it_is_more() -> None:
    one = Figures(
        name="x", rounds=rounds(10), large=(Large(plain_us=10, body_us=50, answer_us=30),)
    )
    assert large_row(one) == ("x", "50.0", "40.0", "30.0", "20.0")
    text = as_text(msgspec.structs.replace(report(), figures=(one, *report().figures)))
    assert "256 KiB body" in text


def test_one_that_fails_at_large_calls_keeps_its_row_and_is_told_of() -> None:
    one = Figures(name="x", rounds=rounds(10), large_error="of large calls none was answered")
    assert contender_row(one)[1] == "1,000"
    text = as_text(msgspec.structs.replace(report(), figures=(one,)))
    assert "x: of large calls none was answered" in text


def test_setups_have_a_table_beside_the_plain_gateway() -> None:
    whole = msgspec.structs.replace(report(), setups=(("spillgate-redis", Spread(1.5, 1.4, 1.6)),))
    assert "| spillgate-redis | 1.50 (1.40–1.60) |" in as_markdown(whole)


def test_refused_calls_are_shown_beside_the_name() -> None:
    bad = msgspec.structs.replace(rounds(1.0)[0], failed=7)
    assert contender_row(Figures(name="x", rounds=(bad,)))[0] == "x (7 failed)"


@pytest.mark.parametrize(
    ("levels", "shown"),
    [
        ((level(64), level(128)), "128+"),
        ((level(64), level(128, stalled=1)), "64"),
        ((level(64, stalled=1),), "<64"),
    ],
)
def test_the_streams_of_a_contender_say_where_it_failed(
    levels: tuple[StreamLevel, ...], shown: str
) -> None:
    assert shown in contender_row(Figures(name="x", rounds=rounds(1.0), levels=levels))


def test_columns_of_a_table_line_up() -> None:
    lines = plain(("name", "n"), [("a", "1"), ("longer", "1000")])
    assert lines == ["name       n", "------------", "a          1", "longer  1000"]


def test_a_markdown_table_has_a_rule_below_its_head() -> None:
    assert marked(("a", "b"), [("1", "2")]) == ["| a | b |", "| --- | ---: |", "| 1 | 2 |"]


def report() -> Report:
    figures = (Figures(name="nginx", rounds=rounds(30, 32, added=0.1), levels=(level(64),)),)
    return Report(
        date="2026-01-01",
        machine="2 cores",
        versions={"nginx": "1.2"},
        settings="2 rounds",
        figures=(*figures, Figures(name="other", error="it fell over")),
        alone=None,
        checks=(),
        trouble=("something else",),
    )


def test_a_report_says_what_failed_and_why() -> None:
    text = as_text(report())
    assert "other: it fell over" in text
    assert "something else" in text
    assert "31.0 (30.0–32.0)" in text
    assert "64+" in text


def test_figures_replace_the_block_of_a_page_and_nothing_else() -> None:
    page = f"# Title\n\n{BEGIN}\nold\n{END}\n\nMore.\n"
    after = insert(page, as_markdown(report()))
    assert after.startswith("# Title\n")
    assert after.endswith("\nMore.\n")
    assert "old" not in after
    assert insert(after, as_markdown(report())) == after


def test_a_page_without_a_block_gets_one_at_its_end() -> None:
    assert insert("# Title\n", f"{BEGIN}\n{END}") == f"# Title\n\n{BEGIN}\n{END}\n"
