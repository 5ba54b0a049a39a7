"""What was spent as FOCUS datasets: columns that tools for cloud bills read. Pure.

FOCUS 1.3 (https://focus.finops.org/focus-specification/v1-3/): a row of Cost and Usage for each UTC
day, user, key, model, backend, price and kind, and one of Contract Commitment for each commitment
of the policy. ``ProviderName`` and ``PublisherName``, which 1.3 deprecates, are there for those who
read 1.2. Columns of what the gateway has not (regions, unit prices, invoices) are left out; our own
begin with ``x_``.
"""

from __future__ import annotations

import csv
import datetime
import io
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from typing import Any

import msgspec

from gateway.money.text import iso, safe_cell, usd
from gateway.policy.model import Policy
from gateway.policy.sections.commitments import Commitment
from gateway.storage.queries import UsageQuery, UsageReport, UsageRow
from gateway.types import MICRO, NANO, ApiError

GROUP_BY = ("day", "user", "key", "plan", "model", "backend", "price", "kind")
_HOUR_S = 3_600
_DAY_S = 24 * _HOUR_S
_ACCOUNT = "spillgate"
_KINDS = {
    "call": "calls",
    "attempt": "failed attempts that were charged",
    "ping": "pings",
    "idle": "time that no call used",
    "correction": "what the bill has and the ledger had not",
}


def focus_query(query: UsageQuery) -> UsageQuery:
    """The report that the dataset is made of: whole days, for each charge is said to be of one; of
    its groups, tags alone are taken along. Raises ApiError for a zone: days are UTC's, as FOCUS has
    it."""
    if query.zone != "UTC":
        raise ApiError(
            400, "invalid_parameter", "the days of FOCUS are UTC's; leave tz out", param="tz"
        )
    tags = tuple(name for name in query.group_by if name.startswith("tag:"))
    since = None if query.since is None else math.floor(query.since / _DAY_S) * _DAY_S
    until = None if query.until is None else math.ceil(query.until / _DAY_S) * _DAY_S
    return msgspec.structs.replace(
        query, since=since, until=until, group_by=GROUP_BY + tags, durations=False
    )


# --- cost and usage ------------------------------------------------------------------------------


def cost_and_usage(report: UsageReport, policy: Policy) -> str:
    """The dataset as CSV, of the report that ``focus_query`` asks for. Groups that neither cost
    nor used anything are no charges."""
    charges = (row for row in report.rows if row.cost_nano or row.group["backend"])
    return _csv(_COLUMNS, (_charge(row, policy) for row in charges))


_COLUMNS = (
    "BilledCost", "BillingAccountId", "BillingAccountName", "BillingCurrency", "BillingPeriodEnd",
    "BillingPeriodStart", "ChargeCategory", "ChargeClass", "ChargeDescription", "ChargeFrequency",
    "ChargePeriodEnd", "ChargePeriodStart", "CommitmentDiscountStatus", "ConsumedQuantity",
    "ConsumedUnit", "ContractApplied", "ContractedCost", "EffectiveCost", "HostProviderName",
    "InvoiceId", "InvoiceIssuerName", "ListCost", "PricingCategory", "PricingQuantity",
    "PricingUnit", "ProviderName", "PublisherName", "ResourceId", "ResourceName", "ResourceType",
    "ServiceCategory", "ServiceName", "ServiceProviderName", "ServiceSubcategory", "SkuId",
    "SkuMeter", "SkuPriceId", "SubAccountId", "SubAccountName", "Tags", "x_Calls", "x_CostNano",
    "x_InputTokens", "x_Key", "x_Kind", "x_Model", "x_OutputTokens", "x_Plan",
)  # fmt: skip


def _charge(row: UsageRow, policy: Policy) -> dict[str, Any]:
    group = row.group
    day = datetime.datetime.fromisoformat(group["day"]).replace(tzinfo=datetime.UTC)
    month = day.replace(day=1)
    cost = usd(row.cost_nano)
    corrects = group["kind"] == "correction"
    return {
        **dict.fromkeys(("BilledCost", "ContractedCost", "EffectiveCost", "ListCost"), cost),
        "BillingAccountId": _ACCOUNT,
        "BillingAccountName": "Spillgate",
        "BillingCurrency": "USD",
        "BillingPeriodStart": _told(month),
        "BillingPeriodEnd": _told((month + datetime.timedelta(days=31)).replace(day=1)),
        "ChargePeriodStart": _told(day),
        "ChargePeriodEnd": _told(day + datetime.timedelta(days=1)),
        "ChargeCategory": "Adjustment" if corrects else "Usage",
        "ChargeClass": "Correction" if corrects else "",
        "ChargeDescription": f"{_KINDS[group['kind']]} of {group['model'] or 'no model'}",
        "ChargeFrequency": "Usage-Based",
        "ContractApplied": _applied(row, policy),
        "PricingCategory": "Standard",
        **_quantities(row),
        **_service(group, policy),
        "SubAccountId": group["user"],
        "SubAccountName": group["user"],
        "Tags": _tags(group),
        "x_Calls": row.calls,
        "x_CostNano": row.cost_nano,
        "x_InputTokens": row.input_tokens,
        "x_OutputTokens": row.output_tokens,
        **{f"x_{name.title()}": group[name] for name in ("key", "kind", "model", "plan")},
    }


def _quantities(row: UsageRow) -> dict[str, Any]:
    """What was used, by the first measure that there is any of."""
    tokens = row.input_tokens + row.output_tokens
    if row.gpu_us:
        quantity, unit = f"{row.gpu_us / MICRO:.6f}", "Seconds"
    elif tokens:
        quantity, unit = str(tokens), "Tokens"
    else:
        quantity, unit = str(row.calls), "Requests"
    told: dict[str, Any] = {"PricingQuantity": quantity, "PricingUnit": unit}
    if row.group["kind"] != "correction":
        told |= {"ConsumedQuantity": quantity, "ConsumedUnit": unit, "SkuMeter": unit}
    return told


def _service(group: Mapping[str, str], policy: Policy) -> dict[str, str]:
    backend = policy.backends.get(group["backend"])
    provider = group["backend"] if backend is None else backend.kind
    roles = ("HostProviderName", "ProviderName", "PublisherName", "ServiceProviderName")
    return {
        **dict.fromkeys(roles, provider),
        "InvoiceIssuerName": provider,
        "ResourceId": group["backend"],
        "ResourceName": group["backend"],
        "ResourceType": "Backend",
        "ServiceCategory": "AI and Machine Learning",
        "ServiceSubcategory": "Generative AI",
        "ServiceName": "Model Inference",
        "SkuId": f"{group['backend']}/{group['model']}",
        "SkuPriceId": group["price"] or f"{group['backend']}/{group['model']}",
    }


def _tags(group: Mapping[str, str]) -> str:
    tags = {name.removeprefix("tag:"): value for name, value in group.items() if ":" in name}
    return json.dumps({name: value for name, value in tags.items() if value})


def _applied(row: UsageRow, policy: Policy) -> str:
    """Which commitment a charge uses: the first that its backend has on the day, where any; two of
    one backend do not overlap."""
    day = datetime.datetime.fromisoformat(row.group["day"]).replace(tzinfo=datetime.UTC).timestamp()
    for name, one in policy.commitments.items():
        if one.backend == row.group["backend"] and _holds(one, day):
            hours = _hours_paid(row.cost_nano, one)
            element = {
                "ContractID": name,
                "ContractCommitmentID": name,
                "ContractCommitmentAppliedCost": row.cost_nano / NANO,
                "ContractCommitmentAppliedQuantity": hours,
                "ContractCommitmentAppliedUnit": None if hours is None else "Hours",
            }
            return json.dumps({"Elements": [element]})
    return ""


def _hours_paid(nano: int, one: Commitment) -> float | None:
    """How many of the committed hours cost so much; None where they cost nothing. Those of all
    charges of an hour add up to what is committed for it."""
    return round(nano * one.count / one.hourly_nano, 9) if one.hourly_nano else None


def _holds(one: Commitment, day: float) -> bool:
    return one.start < day + 24 * _HOUR_S and (one.end is None or one.end > day)


# --- contract commitments ------------------------------------------------------------------------


def contract_commitments(policy: Policy, now: float) -> str:
    """The dataset as CSV. A commitment without an end is told until the month that runs is over."""
    return _csv(_COMMITMENT_COLUMNS, _commitments(policy.commitments, now))


_COMMITMENT_COLUMNS = (
    "BillingCurrency", "ContractCommitmentCategory", "ContractCommitmentCost",
    "ContractCommitmentDescription", "ContractCommitmentId", "ContractCommitmentPeriodEnd",
    "ContractCommitmentPeriodStart", "ContractCommitmentQuantity", "ContractCommitmentType",
    "ContractCommitmentUnit", "ContractId", "ContractPeriodEnd", "ContractPeriodStart",
)  # fmt: skip


def _commitments(commitments: Mapping[str, Commitment], now: float) -> Iterator[dict[str, Any]]:
    month = datetime.datetime.fromtimestamp(now, datetime.UTC).replace(
        day=1, hour=0, minute=0, second=0, microsecond=0
    )
    running = (month + datetime.timedelta(days=31)).replace(day=1).timestamp()
    for name, one in commitments.items():
        end = max(running, one.start + _HOUR_S) if one.end is None else one.end
        hours = Fraction(round(end) - one.start, _HOUR_S)
        first, last = (iso(at, "seconds") for at in (one.start, end))
        yield {
            "BillingCurrency": "USD",
            "ContractCommitmentCategory": "Usage",
            "ContractCommitmentCost": usd(round(hours * one.hourly_nano)),
            "ContractCommitmentDescription": f"{one.count} of {one.backend}: {one.source}",
            "ContractCommitmentId": name,
            "ContractCommitmentPeriodStart": first,
            "ContractCommitmentPeriodEnd": last,
            "ContractCommitmentQuantity": f"{float(hours * one.count):g}",
            "ContractCommitmentType": "Reserved Capacity",
            "ContractCommitmentUnit": "Hours",
            "ContractId": name,
            "ContractPeriodStart": first,
            "ContractPeriodEnd": last,
        }


def _csv(columns: tuple[str, ...], rows: Iterable[Mapping[str, Any]]) -> str:
    """What a row has not is null, which is an empty cell."""
    sheet = io.StringIO(newline="")
    writer = csv.writer(sheet)
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_cell(row.get(name, "")) for name in columns])
    return sheet.getvalue()


def _cell(value: Any) -> Any:
    """A number is none of the texts that a spreadsheet takes for a formula."""
    is_number = isinstance(value, int) or _is_number(value)
    return value if is_number else safe_cell(value)


def _is_number(text: str) -> bool:
    return text.lstrip("-").replace(".", "", 1).isdecimal()


def _told(at: datetime.datetime) -> str:
    return iso(at.timestamp(), "seconds")
