"""``/usage`` shows a key what it may see, exactly, and refuses clearly what it cannot answer."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.money.call_reports import call_json
from gateway.money.usage_reports import (
    as_csv,
    as_json,
    as_json_bytes,
    as_table,
    parse_usage_query,
    refusal_of,
    total_of,
)
from gateway.storage.base import LedgerRow, ReportFault, ReportRefused
from gateway.storage.durations import BUCKETS, bucket_of, percentile_s
from gateway.storage.queries import UsageQuery, UsageReport, UsageRow
from gateway.types import NANO, ApiError, Principal
from tests.gateway.storage.sqlite.ledger_rows import NOON, settled_row

ALICE = Principal(key_id="k1", user="alice")
ADMIN = Principal(key_id="k0", user="root", role="admin")


def usage_row(group: dict[str, str], durations: tuple[int, ...] = (), **figures: int) -> UsageRow:
    zeros: dict[str, Any] = dict.fromkeys(UsageRow.__struct_fields__[1:-1], 0)
    return UsageRow(group=group, durations=durations, **zeros | figures)


def parse(principal: Principal = ADMIN, **params: str) -> UsageQuery:
    names = {"from_": "from"}
    named = {names.get(name, name): value for name, value in params.items()}
    return parse_usage_query(named, principal, now_at=NOON)


# --- what was asked --------------------------------------------------------------------------


def test_without_parameters_a_report_is_by_user_over_all_time() -> None:
    assert parse() == UsageQuery(group_by=("user",))


def test_groups_and_filters_are_taken_as_they_are_named() -> None:
    query = parse_usage_query(
        {"group_by": "model, tag:team,day", "tag:team": "search", "outcome": "error"},
        ADMIN,
        now_at=NOON,
    )
    assert query.group_by == ("model", "tag:team", "day")
    assert query.where == {"tag:team": "search", "outcome": "error"}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7d", NOON - 7 * 86_400),
        ("30m", NOON - 1_800),
        ("12h", NOON - 43_200),
        ("4w", NOON - 28 * 86_400),
        ("2026-01-01", NOON - 43_200),
        ("2026-01-01T12:00", NOON),
        ("2026-01-01T12:00:00Z", NOON),
        ("2026-01-01T13:00+01:00", NOON),
        ("2026-01-01T13:00 01:00", NOON),
        ("", None),
    ],
)
def test_a_time_is_a_date_an_instant_or_how_long_ago(text: str, seconds: float | None) -> None:
    """The last but one is what a plus becomes that a caller forgot to escape."""
    assert parse(from_=text).since == seconds


@pytest.mark.parametrize(
    ("params", "param", "allowed"),
    [
        ({"colour": "red"}, "colour", "group_by"),
        ({"limit": "0"}, "limit", "1 to 50000"),
        ({"limit": "50001"}, "limit", "1 to 50000"),
        ({"limit": "²"}, "limit", "1 to 50000"),
        ({"limit": ""}, "limit", "1 to 50000"),
        ({"group_by": "users"}, "group_by", "tag:NAME"),
        ({"group_by": "tag:"}, "group_by", "tag:NAME"),
        ({"group_by": "user,user"}, "group_by", "twice"),
        ({"group_by": "user,key,plan,model,task,backend,day"}, "group_by", "at most 6"),
        ({"from": "yesterday"}, "from", "7d"),
        ({"to": "1969-01-01"}, "to", "7d"),
        ({"to": "0001-01-01"}, "to", "7d"),
        ({"from": "1d", "to": "2d"}, "from", "before to"),
        ({"outcome": "open"}, "outcome", "success, error"),
        ({"kind": "request"}, "kind", "call, attempt, ping"),
        ({"day": "monday"}, "day", "2026-01-31"),
        ({"hour": "noon"}, "hour", "2026-01-31T13:00Z"),
        ({"model": "x" * 300}, "model", "256"),
        ({"format": "xml"}, "format", "from, to, group_by"),
        ({'tag:a"b': "x"}, 'tag:a"b', "tag:NAME"),
        ({"month": "January"}, "month", "2026-01"),
        ({"month": "2026-13"}, "month", "2026-01"),
        ({"hour_of_week": "Mon 24:00"}, "hour_of_week", "Mon 13:00"),
        ({"tz": "Mars"}, "tz", "Europe/Berlin"),
        ({"tz": "../etc/passwd"}, "tz", "Europe/Berlin"),
        ({"tz": ""}, "tz", "Europe/Berlin"),
        ({"percentiles": "99"}, "percentiles", "true or false"),
    ],
)
def test_what_cannot_be_answered_is_refused_with_what_is_allowed(
    params: dict[str, str], param: str, allowed: str
) -> None:
    with pytest.raises(ApiError) as refused:
        parse_usage_query(params, ADMIN, now_at=NOON)
    assert (refused.value.status, refused.value.param) == (400, param)
    assert allowed in refused.value.message


def test_a_user_sees_its_own_calls_and_cannot_ask_for_anothers() -> None:
    assert parse(ALICE).where == {"user": "alice"}
    assert parse(ALICE, user="alice", model="m").where == {"user": "alice", "model": "m"}
    assert parse(ADMIN, user="bob").where == {"user": "bob"}
    for other in ("bob", "", "Alice"):
        with pytest.raises(ApiError) as refused:
            parse(ALICE, user=other)
        assert (refused.value.status, refused.value.param) == (403, "user")


@given(
    st.dictionaries(
        st.sampled_from(["user", "key", "tag:user", "group_by", "from", "outcome", "User", "day"]),
        st.sampled_from(["alice", "bob", "user", "", "alice,bob", "7d", "error", "2026-01-01"]),
        max_size=4,
    )
)
def test_no_parameters_widen_what_a_user_sees(params: dict[str, str]) -> None:
    """Whatever is asked: its own user's calls, or a refusal."""
    with contextlib.suppress(ApiError):
        assert parse_usage_query(params, ALICE, now_at=NOON).where["user"] == "alice"


@pytest.mark.parametrize(
    ("fault", "status", "param"),
    [
        ("too_many_groups", 400, "limit"),
        ("report_too_slow", 504, "from"),
        ("reports_busy", 503, "from"),
    ],
)
def test_a_report_that_is_not_made_says_what_makes_it_smaller(
    fault: ReportFault, status: int, param: str
) -> None:
    error = refusal_of(ReportRefused(fault, "words"))
    assert (error.status, error.code, error.param) == (status, fault, param)
    assert ("Retry-After" in error.headers) == (status == 503)


def test_dates_are_those_of_the_zone_that_is_asked_for() -> None:
    """In Berlin the first of January began an hour before it did in UTC."""
    assert parse(from_="2026-01-01", tz="Europe/Berlin").since == NOON - 46_800
    assert parse(from_="2026-01-01T12:00Z", tz="Europe/Berlin").since == NOON


# --- how it is shown -------------------------------------------------------------------------


def report_of(*rows: UsageRow) -> UsageReport:
    return UsageReport(rows=list(rows))


ROWS = report_of(
    usage_row({"user": "alice"}, calls=2, errors=1, cold_starts=1, gpu_us=1_500_000, cost_nano=3),
    usage_row({"user": "=cmd|'/C calc'!A0"}, calls=1, queue_us=250_000, cost_nano=2 * NANO + 1),
)
BY_USER = UsageQuery(since=NOON, where={"plan": "free"})


def test_json_has_rows_and_a_total_that_is_exact() -> None:
    body = json.loads(json.dumps(as_json(ROWS, BY_USER)))
    assert body["from"] == "2026-01-01T12:00:00.000Z"
    assert (body["to"], body["group_by"], body["filters"]) == (None, ["user"], {"plan": "free"})
    assert body["rows"][0] == {
        "user": "alice", "calls": 2, "errors": 1, "cold_starts": 1, "input_tokens": 0,
        "output_tokens": 0, "queue_seconds": 0, "cold_seconds": 0, "exec_seconds": 0,
        "gpu_seconds": 1.5, "cost_usd": 3e-9, "cost_nano": 3, "refused": 0,
        "usd_per_1000_calls": 1.5e-06, "usd_per_million_tokens": None, "cold_start_share": 0.5,
        "idle_share": 0.0,
    }  # fmt: skip
    assert body["totals"]["cost_nano"] == 2 * NANO + 4
    assert body["totals"]["cost_usd"] == 2.000000004


PART = UsageReport(
    rows=ROWS.rows,
    groups_left_out=7,
    left_out=usage_row({}, calls=9, cost_nano=5),
)


def test_what_a_limit_left_out_is_told_and_is_part_of_the_total() -> None:
    body = as_json(PART, BY_USER)
    assert (body["left_out"]["groups"], body["left_out"]["cost_nano"]) == (7, 5)
    assert (body["totals"]["calls"], body["totals"]["cost_nano"]) == (12, 2 * NANO + 9)
    *_, left_out, total = as_table(PART, BY_USER).splitlines()
    assert left_out.split()[:3] == ["7", "more", "9"]
    assert total.split()[:2] == ["total", "12"]


def test_json_that_is_written_row_by_row_is_the_same() -> None:
    assert json.loads(as_json_bytes(PART, BY_USER)) == as_json(PART, BY_USER)


def test_csv_has_a_header_and_no_formula_that_a_spreadsheet_would_run() -> None:
    text = as_csv(ROWS, BY_USER)
    assert text.startswith("user,calls,errors,")
    assert text.count("\r\n") == 3
    first, second = csv.DictReader(io.StringIO(text, newline=""))
    assert first["cost_usd"] == "0.000000003"
    assert second["user"] == "'=cmd|'/C calc'!A0"
    assert (second["cost_usd"], second["queue_seconds"]) == ("2.000000001", "0.25")


@pytest.mark.parametrize("value", ["=1", "+1", "-1", "@a", "\t=1", "\r=1"])
def test_text_that_could_begin_a_formula_is_marked_as_text(value: str) -> None:
    [row] = csv.DictReader(
        io.StringIO(as_csv(report_of(usage_row({"user": value})), BY_USER), newline="")
    )
    assert row["user"] == f"'{value}"


@given(st.text(), st.text())
def test_any_name_survives_csv(user: str, team: str) -> None:
    query = UsageQuery(group_by=("user", "tag:team"))
    text = as_csv(report_of(usage_row({"user": user, "tag:team": team})), query)
    header, row = csv.reader(io.StringIO(text, newline=""))
    assert len(header) == len(row)
    assert [row[0].removeprefix("'"), row[1].removeprefix("'")] == [
        user.removeprefix("'"),
        team.removeprefix("'"),
    ]


def test_a_table_lines_up_and_obeys_no_control_character() -> None:
    rows = [usage_row({"user": "al\x1b[2Jice"}, calls=12, cost_nano=5), usage_row({"user": ""})]
    lines = as_table(report_of(*rows), BY_USER).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[1].split() == ["al?[2Jice", "12", "0", "0", "0.000", "0.000000005"]
    assert [lines[2].split()[0], lines[3].split()[0]] == ["-", "total"]


def test_a_table_of_nothing_says_so_in_its_total() -> None:
    assert as_table(report_of(), BY_USER).split()[-5:] == ["0", "0", "0", "0.000", "0.000000000"]


@given(st.lists(st.integers(0, 2**50), max_size=20))
def test_totals_are_the_sums_of_the_rows(costs: list[int]) -> None:
    rows = [usage_row({"user": str(n)}, cost_nano=cost) for n, cost in enumerate(costs)]
    assert total_of(rows).cost_nano == sum(costs)


# --- one call --------------------------------------------------------------------------------


def call_rows() -> list[LedgerRow]:
    return [
        settled_row("r1", cost_nano=5, gpu_us=2_000_000, hold_nano=99),
        settled_row("r1#1", kind="attempt", outcome="error", cost_nano=7),
    ]


def test_a_call_is_shown_with_its_attempts_and_what_they_cost_together() -> None:
    body = json.loads(json.dumps(call_json(call_rows())))
    assert (body["id"], body["key"], body["gpu_seconds"]) == ("r1", "k1", 2.0)
    assert body["started_at"] == "2026-01-01T12:00:00.000Z"
    assert [attempt["id"] for attempt in body["attempts"]] == ["r1#1"]
    assert (body["cost_nano"], body["total_cost_nano"]) == (5, 12)
    assert "claims" not in body


def test_costs_are_told_by_the_call_and_the_token_and_shares_of_what_there_is() -> None:
    row = usage_row(
        {"model": "m"}, calls=4, cold_starts=1, input_tokens=300, output_tokens=200,
        cost_nano=2 * NANO, idle_nano=NANO // 2,
    )  # fmt: skip
    [told] = as_json(UsageReport(rows=[row]), UsageQuery(group_by=("model",)))["rows"]
    assert told["usd_per_1000_calls"] == 500.0
    assert told["usd_per_million_tokens"] == 4_000.0
    assert (told["cold_start_share"], told["idle_share"]) == (0.25, 0.25)
    nothing = as_json(UsageReport(rows=[]), UsageQuery())["totals"]
    assert nothing["usd_per_1000_calls"] is nothing["idle_share"] is None


@given(
    took_us=st.lists(st.integers(1_190, 1_700 * 1_000_000), min_size=1, max_size=60),
    share=st.sampled_from([0.5, 0.95, 0.99]),
)
def test_a_percentile_is_wrong_by_less_than_a_tenth(took_us: list[int], share: float) -> None:
    counts = [0] * BUCKETS
    for took in took_us:
        counts[bucket_of(took)] += 1
    told = percentile_s(counts, share)
    exact = sorted(took_us)[max(0, math.ceil(share * len(took_us)) - 1)] / 1e6
    assert told == pytest.approx(exact, rel=0.0906)


def test_percentiles_are_of_all_groups_together_in_the_total() -> None:
    """Nine calls of a second in one group, one of a minute in the other."""
    slow, fast = [0] * BUCKETS, [0] * BUCKETS
    fast[bucket_of(1_000_000)], slow[bucket_of(60_000_000)] = 9, 1
    rows = [usage_row({"model": "a"}, tuple(fast), calls=9), usage_row({"model": "b"}, tuple(slow))]
    body = as_json(UsageReport(rows=rows), UsageQuery(group_by=("model",), durations=True))
    assert body["rows"][0]["p99_seconds"] == pytest.approx(1.0, rel=0.1)
    assert body["totals"]["p50_seconds"] == pytest.approx(1.0, rel=0.1)
    assert body["totals"]["p99_seconds"] == pytest.approx(60.0, rel=0.1)
