"""docs/policy.md names every key, and the shipped policies are sound."""

from __future__ import annotations

import datetime
from pathlib import Path

import msgspec
import pytest

from gateway.policy.json_schema import settings_of_kinds
from gateway.policy.model import (
    BackendCommon,
    ColdStart,
    ModelSpec,
    Plan,
    RequestTags,
    Retries,
    Route,
    WarmRule,
    When,
)
from gateway.policy.reader import Document, PolicyError, load_policy
from gateway.policy.sections.keys import KeySettings
from gateway.policy.sections.limits import GatewayLimits, Limits, Raise
from gateway.policy.sections.price import Price, VolumeRates
from gateway.policy.sections.regions import CallerRegionSettings
from gateway.policy.sections.reserve import Reserve
from gateway.policy.sections.schedules import ScheduledBatch, ScheduledJob, ScheduleSpec
from gateway.policy.sections.server import ClientSettings, ServerSettings, TlsFiles
from gateway.policy.sections.store import JobSettings, KeepSettings, StoreSettings, WhenLost
from gateway.policy.sections.telemetry import OtelSettings
from gateway.policy.sections.webhooks import AlertSettings, WebhookEndpoint, WebhookSettings
from gateway.policy.syntax.shapes import fields_of
from gateway.policy.warnings.every import warnings_of

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "policy.md").read_text(encoding="utf-8")
PARTS: list[tuple[str, type[msgspec.Struct], str]] = [
    ("## The top level", Document, ""),
    ("## server", ServerSettings, ""),
    ("## server", TlsFiles, "tls."),
    ("## server", ClientSettings, "clients."),
    ("## server", OtelSettings, "otel."),
    ("## store", StoreSettings, ""),
    ("### How long rows stay", KeepSettings, ""),
    ("### While the shared store is lost", WhenLost, ""),
    ("## backends", BackendCommon, ""),
    ("## backends", ColdStart, "cold_start."),
    ("### Several regions", CallerRegionSettings, ""),
    ("## models", ModelSpec, ""),
    ("## prices", Price, ""),
    ("## prices", VolumeRates, "by_volume."),
    ("## routes", Route, ""),
    ("## routes", Retries, "retries."),
    ("## routes", When, ""),
    ("## warm_pool", WarmRule, ""),
    ("## reserve", Reserve, ""),
    ("## keys", KeySettings, ""),
    ("## tags", RequestTags, ""),
    ("## jobs", JobSettings, ""),
    ("## schedules", ScheduleSpec, ""),
    ("## schedules", ScheduledJob, ""),
    ("## schedules", ScheduledBatch, ""),
    ("## webhooks", WebhookSettings, ""),
    ("## webhooks", WebhookEndpoint, ""),
    ("## alerts", AlertSettings, ""),
    ("## plans and limits", Limits, ""),
    ("## plans and limits", GatewayLimits, ""),
    ("## plans and limits", Raise, "raises."),
    ("## plans and limits", Plan, ""),
]
KEYS = ("RUNPOD_API_KEY", "VLLM_API_KEY")
TODAY = datetime.date(2026, 11, 22)


def part(heading: str) -> str:
    """From a heading to the next of its level, or the end."""
    level = heading.partition(" ")[0]
    start = PAGE.index(f"\n{heading}\n")
    end = PAGE.find(f"\n{level} ", start + 1)
    return PAGE[start : end if end > 0 else len(PAGE)]


@pytest.mark.parametrize(("heading", "cls", "prefix"), PARTS, ids=str)
def test_every_key_stands_in_its_table(
    heading: str, cls: type[msgspec.Struct], prefix: str
) -> None:
    """In the part of the page where one would look for it."""
    text = part(heading)
    missing = [key for key in fields_of(cls) if f"`{prefix}{key}`" not in text]
    assert missing == []


def test_every_key_of_every_kind_stands_in_its_table() -> None:
    """Of the kinds that come with the package."""
    for kind, settings in settings_of_kinds().items():
        text = part(f"### kind: {kind}")
        assert [key for key in fields_of(settings) if f"`{key}`" not in text] == [], kind


@pytest.mark.parametrize("name", ["default.yaml", "examples/laptop.yaml", "examples/company.yaml"])
def test_every_shipped_policy_loads_and_says_nothing_in_vain(name: str) -> None:
    """But for prices, which grow old by themselves."""
    policy = load_policy(ROOT / "config" / name, dict.fromkeys(KEYS, "a-secret"))
    said = warnings_of(policy, today=TODAY)
    assert [str(one) for one in said if not one.path.endswith(".as_of")] == []
    assert policy.models


def test_a_shipped_policy_without_its_secrets_says_which_it_wants() -> None:
    """So that a first start fails with the variable's name."""
    with pytest.raises(PolicyError, match="environment variable RUNPOD_API_KEY is not set"):
        load_policy(ROOT / "config" / "default.yaml", {})
