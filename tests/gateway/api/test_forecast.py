"""Everybody learns where his own spend leads, and an admin where anybody's does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.clock import FakeClock
from gateway.storage.base import LedgerRow
from tests.gateway.assembled import POLICY, AssembledGateway, assembled
from tests.gateway.storage.sqlite.ledger_rows import settled_row

USD = 1_000_000_000
HOUR_S = 3_600.0


def rows_of(now_at: float, **fields: Any) -> list[LedgerRow]:
    """Two cents in each hour of the last four days."""
    return [
        settled_row(
            f"{fields.get('user', 'alice')}{hour}",
            started_at=now_at - hour * HOUR_S + 1,
            ended_at=now_at - hour * HOUR_S + 2,
            cost_nano=USD // 50,
            **fields,
        )
        for hour in range(1, 4 * 24 + 1)
    ]


async def asked(gateway: AssembledGateway, path: str, key: str | None = None) -> httpx.Response:
    async with gateway.client(key) as client:
        return await client.get(path)


async def test_a_user_learns_when_the_months_money_will_be_gone(
    tmp_path: Path, clock: FakeClock
) -> None:
    """2026-01-11, 96 hours of two cents: 1.92 of 5 USD, and 20 days to go."""
    clock.move(10 * 86_400.0)
    async with assembled(tmp_path, clock) as gateway:
        await gateway.inner.ledger.settle(rows_of(clock.time(), plan="default"))
        found = (await asked(gateway, "/usage/forecast")).json()
    assert (found["object"], found["scope"]) == ("spend_forecast", "user:alice")
    windows = {(one["unit"], one["window"]): one for one in found["windows"]}
    assert windows.keys() == {("usd", "month"), ("gpu_seconds", "day")}
    month = windows["usd", "month"]
    assert (month["limit"], month["spent"], month["history_hours"]) == ("5", "1.92", 96)
    assert float(month["low"]) < float(month["expected"]) < float(month["high"])
    assert float(month["expected"]) == pytest.approx(1.92 + 21 * 24 * 0.02)
    assert month["earliest"] < month["exhausted_at"] < month["latest"]
    assert month["exhausted_at"] == "2026-01-17T10:00Z"


async def test_me_tells_the_same_where_it_is_asked_to(tmp_path: Path, clock: FakeClock) -> None:
    clock.move(10 * 86_400.0)
    async with assembled(tmp_path, clock) as gateway:
        await gateway.inner.ledger.settle(rows_of(clock.time()))
        key = gateway.key()
        forecast = (await asked(gateway, "/usage/forecast", key)).json()["windows"]
        assert (await asked(gateway, "/v1/me?forecast=true", key)).json()["forecast"] == forecast
        assert "forecast" not in (await asked(gateway, "/v1/me", key)).json()
        assert (await asked(gateway, "/v1/me?forecast=yes", key)).status_code == 400


async def test_an_admin_sees_others_and_the_whole(tmp_path: Path, clock: FakeClock) -> None:
    clock.move(10 * 86_400.0)
    text = POLICY + "limits: {tags: {team: {bob: {spend: 7 USD/month}}}}\n"
    async with assembled(tmp_path, clock, text) as gateway:
        for user in ("alice", "bob"):
            tags = {"team": user}
            await gateway.inner.ledger.settle(rows_of(clock.time(), user=user, tags=tags))
        gateway.key("bob", limits={"spend": "3 USD/month"})
        admin = gateway.key("root", admin=True)
        spent = {}
        for scope in ("user:bob", "gateway", "tag:team=bob", "plan:default", "key:k1"):
            found = (await asked(gateway, f"/usage/forecast?scope={scope}", admin)).json()
            month = next(one for one in found["windows"] if one["unit"] == "usd")
            spent[scope] = month["spent"], month["limit"]
    assert spent == {
        "user:bob": ("1.92", "5"),
        "gateway": ("3.84", None),
        "tag:team=bob": ("1.92", "7"),
        "plan:default": ("0", None),
        "key:k1": ("3.84", None),
    }


async def test_a_user_sees_nobody_else(tmp_path: Path, clock: FakeClock) -> None:
    async with assembled(tmp_path, clock) as gateway:
        await gateway.inner.ledger.settle(rows_of(clock.time(), user="bob", tags={"team": "x"}))
        for scope in ("user:bob", "plan:default", "gateway"):
            answer = await asked(gateway, f"/usage/forecast?scope={scope}")
            assert (answer.status_code, answer.json()["error"]["param"]) == (403, "scope")
        for scope in ("key:k1", "tag:team=x"):
            found = (await asked(gateway, f"/usage/forecast?scope={scope}")).json()
            assert {one["spent"] for one in found["windows"]} == {"0"}


@pytest.mark.parametrize(
    "query", ["scope=alice", "scope=user:", "scope=gateway:a", "scope=tag:team", "user=alice"]
)
async def test_an_odd_question_is_refused_with_what_is_allowed(
    query: str, tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock) as gateway:
        answer = await asked(gateway, f"/usage/forecast?{query}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_parameter")
