"""The datasets keep the rules of FOCUS 1.3 as we read them, column by column: which must be there,
which may be null, what they may hold, and what follows from one for another.

https://focus.finops.org/focus-specification/v1-3/ has the rules.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from decimal import Decimal

import pytest

from gateway.money.focus import contract_commitments, cost_and_usage
from gateway.storage.queries import UsageReport
from tests.gateway.assembled import POLICY, read
from tests.gateway.money.test_focus import COMMITTED, NOON, charge

Row = dict[str, str]
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\Z")
DECIMAL = re.compile(r"-?\d+(\.\d+)?\Z")
SAMPLE = [
    charge("2026-01-02"),
    charge("2026-01-03", nano=5, user="bob", gpu_us=0),
    charge("2025-12-31", price="flex"),
    charge("2026-01-04", kind="idle", calls=0, input_tokens=0, output_tokens=0),
    charge("2026-01-05", nano=-5, kind="correction", calls=0, input_tokens=0, output_tokens=0),
    charge("2026-01-02", gpu_us=0, input_tokens=0, output_tokens=0),
    charge("2026-01-02", backend="gone", kind="attempt"),
]


def told(sheet: str) -> list[Row]:
    return list(csv.DictReader(io.StringIO(sheet)))


def charges() -> list[Row]:
    return told(cost_and_usage(UsageReport(rows=SAMPLE), read(POLICY + COMMITTED)))


def commitments() -> list[Row]:
    return told(contract_commitments(read(POLICY + COMMITTED), NOON))


NEVER_NULL = (
    *("BilledCost", "BillingAccountId", "BillingCurrency", "BillingPeriodEnd"),
    *("BillingPeriodStart", "ChargeCategory", "ChargeDescription", "ChargePeriodEnd"),
    *("ChargePeriodStart", "ContractedCost", "EffectiveCost", "InvoiceIssuerName", "ListCost"),
    *("ServiceCategory", "ServiceName", "ServiceProviderName", "ServiceSubcategory"),
    *("HostProviderName", "ChargeFrequency"),
)
COMMITMENT_COLUMNS = {
    *("BillingCurrency", "ContractCommitmentCategory", "ContractCommitmentCost"),
    *("ContractCommitmentDescription", "ContractCommitmentId", "ContractCommitmentPeriodEnd"),
    *("ContractCommitmentPeriodStart", "ContractCommitmentQuantity", "ContractCommitmentType"),
    *("ContractCommitmentUnit", "ContractId", "ContractPeriodEnd", "ContractPeriodStart"),
}


@pytest.mark.parametrize("column", NEVER_NULL)
def test_no_charge_lacks_what_every_charge_has(column: str) -> None:
    assert all(row[column] for row in charges())


def test_amounts_are_decimals_and_instants_are_utc() -> None:
    for row in [*charges(), *commitments()]:
        for column, value in row.items():
            if column.endswith(("Cost", "Quantity")) and value:
                assert DECIMAL.match(value), column
            if column.endswith(("PeriodStart", "PeriodEnd")):
                assert INSTANT.match(value), column


RULES: dict[str, Callable[[Row], bool]] = {
    "a category is one of the five": lambda row: (
        row["ChargeCategory"] in {"Usage", "Purchase", "Tax", "Credit", "Adjustment"}
    ),
    "a class is null or a correction": lambda row: row["ChargeClass"] in {"", "Correction"},
    "a frequency is one of the three": lambda row: (
        row["ChargeFrequency"] in {"One-Time", "Recurring", "Usage-Based"}
    ),
    "a pricing category is one of the four": lambda row: (
        row["PricingCategory"] in {"Standard", "Dynamic", "Committed", "Other"}
    ),
    "a charge's period lies within the billing period": lambda row: (
        row["BillingPeriodStart"]
        <= row["ChargePeriodStart"]
        < row["ChargePeriodEnd"]
        <= row["BillingPeriodEnd"]
    ),
    "what is consumed has a unit, and nothing else has": lambda row: (
        bool(row["ConsumedQuantity"]) == bool(row["ConsumedUnit"])
    ),
    "what is priced has a unit, and nothing else has": lambda row: (
        bool(row["PricingQuantity"]) == bool(row["PricingUnit"])
    ),
    "no adjustment consumes": lambda row: (
        row["ChargeCategory"] == "Usage" or not row["ConsumedQuantity"]
    ),
    "a resource has a name and a type, and nothing else has": lambda row: (
        bool(row["ResourceId"]) == bool(row["ResourceName"]) == bool(row["ResourceType"])
    ),
    "a price belongs to an article": lambda row: bool(row["SkuId"]) or not row["SkuPriceId"],
    "a sub account has a name": lambda row: (
        bool(row["SubAccountId"]) == bool(row["SubAccountName"])
    ),
    "what is our own begins with x_": lambda row: all(
        name[0].isupper() or name.startswith("x_") for name in row
    ),
    "tags are flat": lambda row: all(
        isinstance(value, str) for value in json.loads(row["Tags"]).values()
    ),
}


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_every_charge_keeps_the_rule(rule: Callable[[Row], bool]) -> None:
    assert [row for row in charges() if not rule(row)] == []


def test_an_applied_commitment_has_every_property_and_is_one_of_the_dataset() -> None:
    known = {(row["ContractId"], row["ContractCommitmentId"]) for row in commitments()}
    elements = [
        element
        for row in charges()
        if row["ContractApplied"]
        for element in json.loads(row["ContractApplied"])["Elements"]
    ]
    assert len(elements) == 5
    for element in elements:
        assert set(element) == {
            *("ContractID", "ContractCommitmentID", "ContractCommitmentAppliedCost"),
            *("ContractCommitmentAppliedQuantity", "ContractCommitmentAppliedUnit"),
        }
        assert (element["ContractID"], element["ContractCommitmentID"]) in known
        assert element["ContractCommitmentAppliedUnit"] == "Hours"
        assert isinstance(element["ContractCommitmentAppliedCost"], float)


def test_hours_that_charges_apply_are_those_that_their_cost_paid() -> None:
    """2.50 USD an hour for two: a dollar is 0.8 of an hour of one."""
    [row] = told(cost_and_usage(UsageReport(rows=[charge("2026-01-02")]), read(POLICY + COMMITTED)))
    [element] = json.loads(row["ContractApplied"])["Elements"]
    per_hour = Decimal(commitments()[0]["ContractCommitmentCost"]) / Decimal(
        commitments()[0]["ContractCommitmentQuantity"]
    )
    assert Decimal(str(element["ContractCommitmentAppliedQuantity"])) * per_hour == 1


def test_commitments_have_the_columns_of_the_dataset_and_what_each_needs() -> None:
    for row in commitments():
        assert set(row) == COMMITMENT_COLUMNS
        assert all(row.values())
        assert row["ContractCommitmentCategory"] in {"Spend", "Usage"}
        assert row["ContractPeriodStart"] <= row["ContractCommitmentPeriodStart"]
        assert row["ContractCommitmentPeriodEnd"] <= row["ContractPeriodEnd"]
    assert len({row["ContractCommitmentId"] for row in commitments()}) == len(commitments())
