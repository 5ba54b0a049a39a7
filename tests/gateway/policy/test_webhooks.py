"""What is wrong or doubtful with webhooks and alerts is said in its place, and holds no secret."""

from __future__ import annotations

import base64
import datetime

import pytest

from gateway.policy.reader import read_policy_text
from gateway.policy.sections.webhooks import unfit_secrets
from gateway.policy.syntax.problems import PolicyError
from gateway.policy.warnings.every import warnings_of

TODAY = datetime.date(2026, 11, 29)
GOOD = "whsec_" + base64.b64encode(b"g" * 32).decode()
ENDPOINT = "url: 'https://billing.example.com/', secret: '${SECRET}', events: [usage]"


def said(text: str, secret: str = GOOD) -> list[str]:
    policy = read_policy_text(f"version: 1\n{text}", {"SECRET": secret, "OLD": secret})
    return [f"{one.path}: {one.message}" for one in warnings_of(policy, today=TODAY)]


def webhooks(endpoint: str = ENDPOINT, **options: str) -> str:
    rest = "".join(f", {name}: {value}" for name, value in options.items())
    return f"webhooks: {{endpoints: {{b: {{{endpoint}}}}}{rest}}}"


def test_a_sound_webhook_is_said_nothing_of() -> None:
    assert said(webhooks()) == []


DOUBTFUL = {
    "no TLS": (webhooks(ENDPOINT.replace("https", "http")), "b.url: http: whoever is on the way"),
    "a private address": (
        webhooks(ENDPOINT.replace("billing.example.com", "10.0.0.1")), "b.url: never reached"
    ),
    "this machine": (
        webhooks(ENDPOINT.replace("billing.example.com", "localhost")), "b.url: never reached"
    ),
    "a batch of nothing": (
        webhooks(f"{ENDPOINT}, batch: 9".replace("[usage]", "[budget]")), "b.batch: without effect"
    ),
    "dropped before disabled": (webhooks(keep="1d"), "webhooks.disable_after: is longer"),
    "alerts of plans that share nothing": (
        "plans: {default: {spend: 5 USD/month}}\nalerts: {of: [user, plan]}",
        "alerts.of[1]: never told: no limit of spend or gpu_seconds of a plan",
    ),
    "a share twice": ("alerts: {at: [50, 50], of: [key]}", "alerts.at: names a share twice"),
}  # fmt: skip


@pytest.mark.parametrize("what", DOUBTFUL)
def test_what_is_hardly_meant_is_warned_of(what: str) -> None:
    text, expected = DOUBTFUL[what]
    assert any(expected in one for one in said(text)), said(text)


def test_a_private_address_that_is_allowed_is_no_warning() -> None:
    local = ENDPOINT.replace("billing.example.com", "10.0.0.1")
    assert said(webhooks(local, allow_private="true")) == []


@pytest.mark.parametrize("size", [8, 23, 65])
def test_a_secret_of_an_odd_length_is_warned_of(size: int) -> None:
    secret = "whsec_" + base64.b64encode(b"s" * size).decode()
    [warning] = said(webhooks(), secret)
    assert f"webhooks.endpoints.b.secret: is {size} bytes" in warning


@pytest.mark.parametrize("secret", ["hunter2", "whsec_%%%", "whsec_"])
def test_a_secret_that_signs_nothing_keeps_a_policy_from_being_served(secret: str) -> None:
    endpoint = ENDPOINT + ", previous_secret: '${OLD}'"
    text = f"version: 1\n{webhooks(endpoint)}"
    policy = read_policy_text(text, {"SECRET": secret, "OLD": GOOD})
    [(path, message)] = unfit_secrets(policy.webhooks)
    assert path == "webhooks.endpoints.b.secret"
    assert secret.removeprefix("whsec_") not in message or secret == "whsec_"


BAD = {
    "another scheme": ENDPOINT.replace("https", "ftp"),
    "a password": ENDPOINT.replace("billing", "user:pw@billing"),
    "a fragment": ENDPOINT.replace("com/", "com/#a"),
    "no host": ENDPOINT.replace("billing.example.com", ""),
    "no events": ENDPOINT.replace("[usage]", "[]"),
    "an unknown event": ENDPOINT.replace("[usage]", "[usages]"),
    "a batch of none": f"{ENDPOINT}, batch: 0",
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_webhook_is_refused_in_its_place(what: str) -> None:
    text = f"version: 1\n{webhooks(BAD[what])}"
    with pytest.raises(PolicyError, match=r"policy\.yaml:2:\d+: webhooks\.endpoints\.b\.") as seen:
        read_policy_text(text, {"SECRET": GOOD})
    assert GOOD not in str(seen.value)
