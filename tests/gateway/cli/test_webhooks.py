"""`spillgate webhooks` works beside a gateway, in the ledger's own store."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from standardwebhooks import Webhook

from gateway.cli import main
from gateway.storage.sql_outbox import SqlOutbox
from gateway.storage.sqlite.outbox import SqliteStatements


@pytest.fixture
def config(tmp_path: Path) -> Path:
    policy = tmp_path / "policy.yaml"
    policy.write_text(
        f"version: 1\nserver: {{data: '{tmp_path}'}}\n"
        f"store: {{ledger: 'sqlite:///{tmp_path}/ledger.db'}}\n"
        "webhooks: {endpoints: {ops: {url: 'https://ops.example.com/', "
        "secret: '${OPS_SECRET}', events: [budget]}}}\n"
    )
    return policy


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["webhooks", *arguments]) == 0
    return capsys.readouterr().out


def test_a_new_secret_is_one_that_signs(capsys: pytest.CaptureFixture[str]) -> None:
    first, second = (said(capsys, "secret").strip() for _ in range(2))
    assert first != second
    assert Webhook(first)


def test_a_test_waits_for_the_gateway(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No secret is needed for it: the gateway signs."""
    asked = json.loads(said(capsys, "test", "--config", str(config), "--json", "ops"))

    async def waiting() -> list[str]:
        outbox = SqlOutbox(SqliteStatements(config.parent / "ledger.db"))
        found = await outbox.take("ops", 10, 60.0)
        await outbox.aclose()
        return [one.id for one in found]

    assert asyncio.run(waiting()) == [asked["id"]]
    assert "ops" in said(capsys, "list", "--config", str(config))


def test_a_webhook_that_is_none_is_said_with_those_that_are(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["webhooks", "enable", "--config", str(config), "billing"])
    assert "The policy has no webhook 'billing'. It has ops." in capsys.readouterr().err


def test_a_policy_is_checked_where_its_secrets_are_not(config: Path) -> None:
    assert main(["check", "--without-secrets", str(config)]) == 0


def test_a_secret_that_signs_nothing_is_found_where_it_is(
    config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPS_SECRET", "hunter2")
    assert main(["check", str(config)]) == 2
    seen = capsys.readouterr().err
    assert "webhooks.endpoints.ops.secret: begins with whsec_" in seen
    assert "hunter2" not in seen


def test_a_forecast_is_a_table(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["usage", "--config", str(config), "--forecast", "gateway"]) == 0
    head, row = capsys.readouterr().out.splitlines()
    assert head.split()[:4] == ["unit", "window", "limit", "spent"]
    assert row.split()[:4] == ["usd", "month", "-", "0"]
