"""FOCUS datasets: charges that add up to the report, and commitments that their charges name."""

from __future__ import annotations

import csv
import io
import json
from decimal import Decimal
from typing import Any

import pytest

from gateway.money.focus import contract_commitments, cost_and_usage, focus_query
from gateway.storage.queries import UsageQuery, UsageReport, UsageRow
from gateway.types import NANO, ApiError
from tests.gateway.assembled import POLICY, read

NOON = 1_767_268_800.0
"""2026-01-01 12:00 UTC."""
COMMITTED = """
commitments:
  gpu: {backend: home, per_hour: 2.5, count: 2, start: 2026-01-01, end: 2026-01-03, source: lease}
  open: {backend: home, per_minute: 0.01, start: 2026-01-03}
"""


def charge(day: str = "2026-01-31", nano: int = NANO, **fields: object) -> UsageRow:
    group = {
        "day": day, "user": "alice", "key": "k1", "plan": "free", "model": "chat",
        "backend": "home", "price": "", "kind": "call", "tag:team": "nlp",
    }  # fmt: skip
    sums: dict[str, Any] = dict.fromkeys(
        ("errors", "cold_starts", "queue_us", "cold_us", "exec_us"), 0
    )
    own = {name: str(value) for name, value in fields.items() if name in group}
    used: dict[str, Any] = {"calls": 2, "input_tokens": 30, "output_tokens": 4, "gpu_us": 1_500_000}
    used |= {name: int(str(value)) for name, value in fields.items() if name in used}
    return UsageRow(group=group | own, cost_nano=nano, **sums, **used)


def charges(*rows: UsageRow) -> list[dict[str, str]]:
    sheet = cost_and_usage(UsageReport(rows=list(rows)), read(POLICY + COMMITTED))
    return list(csv.DictReader(io.StringIO(sheet)))


def test_charges_are_exact_and_of_whole_days_and_months() -> None:
    [told] = charges(charge(nano=1_000_000_001))
    assert told["BilledCost"] == told["EffectiveCost"] == told["ListCost"] == "1.000000001"
    assert told["x_CostNano"] == "1000000001"
    assert (told["ChargePeriodStart"], told["ChargePeriodEnd"]) == (
        "2026-01-31T00:00:00Z",
        "2026-02-01T00:00:00Z",
    )
    assert (told["BillingPeriodStart"], told["BillingPeriodEnd"]) == (
        "2026-01-01T00:00:00Z",
        "2026-02-01T00:00:00Z",
    )
    assert (told["PricingQuantity"], told["PricingUnit"]) == ("1.500000", "Seconds")
    assert json.loads(told["Tags"]) == {"team": "nlp"}


def test_a_charge_names_the_commitment_that_it_uses_and_all_are_told() -> None:
    policy = read(POLICY + COMMITTED)
    told = charges(charge("2026-01-02"), charge("2026-01-03"), charge("2025-12-31"))
    applied = [json.loads(row["ContractApplied"] or "{}").get("Elements", []) for row in told]
    assert [[each["ContractCommitmentID"] for each in one] for one in applied] == [
        ["gpu"],
        ["open"],
        [],
    ]
    assert applied[0][0]["ContractCommitmentAppliedCost"] == 1.0
    known = list(csv.DictReader(io.StringIO(contract_commitments(policy, NOON))))
    assert [row["ContractCommitmentId"] for row in known] == ["gpu", "open"]
    gpu, open_ended = known
    assert (gpu["ContractCommitmentQuantity"], gpu["ContractCommitmentCost"]) == ("96", "240")
    assert open_ended["ContractCommitmentPeriodEnd"] == "2026-02-01T00:00:00Z"


def test_each_day_that_is_asked_for_in_part_is_told_as_a_whole() -> None:
    """A charge says of which day it is: part of that would be a wrong bill."""
    midnight = NOON - 43_200.0
    for since, until in ((NOON, NOON + 86_400.0), (midnight, midnight + 2 * 86_400.0)):
        asked = focus_query(UsageQuery(since=since, until=until))
        assert (asked.since, asked.until) == (midnight, midnight + 2 * 86_400.0)
    assert focus_query(UsageQuery()).since is None


def test_what_a_spreadsheet_would_run_is_text_and_what_is_negative_a_number() -> None:
    [told] = charges(charge(nano=-NANO, kind="correction", user="=1+1", key="-5"))
    assert (told["SubAccountId"], told["x_Key"]) == ("'=1+1", "-5")
    assert (int(Decimal(told["BilledCost"])), told["ChargeCategory"]) == (-1, "Adjustment")


def test_what_cost_and_used_nothing_is_no_charge() -> None:
    assert charges(charge(nano=0, backend="")) == []


def test_the_report_of_the_dataset_keeps_filters_and_tags_and_is_of_utc_alone() -> None:
    query = focus_query(UsageQuery(group_by=("model", "tag:team"), where={"user": "alice"}))
    assert query.where == {"user": "alice"}
    assert query.group_by[-1] == "tag:team"
    with pytest.raises(ApiError, match="UTC"):
        focus_query(UsageQuery(zone="Europe/Berlin"))
