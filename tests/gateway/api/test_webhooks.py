"""/admin/webhooks shows how endpoints stand, tests them, and sends once more, over a real store."""

from __future__ import annotations

import contextlib
import json
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.app import running
from gateway.clock import FakeClock
from gateway.events.notices import Notices
from gateway.storage.outbox import Outbox
from gateway.storage.sql_outbox import SqlOutbox
from gateway.storage.sqlite.outbox import SqliteStatements
from gateway.types import MICRO, ApiError
from tests.gateway.assembled import POLICY, AssembledGateway, build
from tests.gateway.events.senders import PlayedClient
from tests.gateway.policy.test_webhooks import GOOD
from tests.waiting import until

BY_CALL = POLICY.replace("per_second: 0.001, bills: [start, run]", "per_call: 0.06").replace(
    "spend: 5 USD/month", "spend: 0.1 USD/month"
)
TEXT = f"""{BY_CALL}
webhooks:
  endpoints:
    billing:
      {{url: "https://billing.example.com/", secret: "${{SECRET}}", events: [usage], batch: 1}}
    ops: {{url: "https://ops.example.com/", secret: "${{SECRET}}", events: [budget]}}
"""


class Told(AssembledGateway):
    """A gateway whose messages go to a played client."""

    client_of_webhooks: PlayedClient
    outbox: Outbox

    async def admin(self, method: str, path: str, body: Any = None) -> httpx.Response:
        async with self.client(self.key("root", admin=True)) as client:
            return await client.request(method, path, json=body)

    async def until_sent(self, number: int) -> None:
        async def sent() -> bool:
            await self.clock.advance(6.0)
            return len(self.client_of_webhooks.sent) >= number

        await until(sent, "so many are sent", every_s=0.01)


@contextlib.asynccontextmanager
async def told(folder: Path, clock: FakeClock, *statuses: int | None) -> AsyncIterator[Told]:
    inner = build(folder, clock, TEXT, secrets={"SECRET": GOOD})
    client = PlayedClient(statuses)
    statements = SqliteStatements(folder / "ledger.db", now_us=lambda: round(clock.time() * MICRO))
    inner.notices = Notices(
        outbox=SqlOutbox(statements),
        spending=inner.settler.spending,
        shared=inner.shared,
        keys=inner.keys,
        policy=lambda: inner.active.policy,
        client=lambda: client,
        clock=clock,
        metrics=inner.metrics,
        draw=random.Random(0),
    )
    async with running(inner):
        gateway = Told(inner, clock)
        gateway.client_of_webhooks = client
        gateway.outbox = inner.notices.outbox
        yield gateway


async def test_a_call_is_told_to_who_takes_usage(tmp_path: Path, clock: FakeClock) -> None:
    async with told(tmp_path, clock) as gateway:
        await gateway.ask_after(gateway.call_state("any"), 2.0)
        await gateway.until_sent(1)
        [sent] = gateway.client_of_webhooks.sent
        assert (sent.id, sent.url) == ("usage_req_1", "https://billing.example.com/")


async def test_a_budget_that_is_nearly_spent_and_refuses_is_told_to_who_takes_budgets(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with told(tmp_path, clock) as gateway:
        await gateway.ask_after(gateway.call_state("far"), 99.0)
        with pytest.raises(ApiError) as refused:
            await gateway.ask(gateway.call_state("far"))
        assert refused.value.code == "budget_exhausted"
        await gateway.until_sent(3)
        sent = gateway.client_of_webhooks.sent
        told_of = [json.loads(one.body) for one in sent if one.url == "https://ops.example.com/"]
        steps = {(one["type"], one["data"]["name"], one["data"]["spent"]) for one in told_of}
        assert steps == {
            ("budget.threshold", "alice", "0.06"),
            ("budget.refused", "alice", "0.06"),
        }


async def test_a_test_is_sent_and_is_in_the_log_of_attempts(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with told(tmp_path, clock, 500) as gateway:
        asked = await gateway.admin("POST", "/admin/webhooks/ops/test")
        id = asked.json()["id"]
        await gateway.until_sent(2)
        log = (await gateway.admin("GET", "/admin/webhooks/ops/deliveries")).json()["deliveries"]
        assert {(one["id"], one["type"]) for one in log} == {(id, "webhook.test")}
        assert log[-1]["status"] == 500
        again = await gateway.admin("POST", "/admin/webhooks/ops/redeliver", {"id": id})
        assert again.status_code == 200
        await gateway.until_sent(3)
        assert gateway.client_of_webhooks.ids[-1] == id


async def test_the_list_shows_what_waits_and_neither_url_nor_secret(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with told(tmp_path, clock) as gateway:
        answer = await gateway.admin("GET", "/admin/webhooks")
        assert [one["webhook"] for one in answer.json()["webhooks"]] == ["billing", "ops"]
        assert "example.com" not in answer.text
        assert GOOD not in answer.text


async def test_usage_of_a_time_is_sent_once_more(tmp_path: Path, clock: FakeClock) -> None:
    async with told(tmp_path, clock) as gateway:
        await gateway.ask_after(gateway.call_state("any"), 2.0)
        await gateway.until_sent(1)
        asked = await gateway.admin("POST", "/admin/webhooks/billing/redeliver", {"from": "1h"})
        assert asked.json() == {"webhook": "billing", "rows": 1}
        await gateway.until_sent(2)
        assert gateway.client_of_webhooks.ids == ["usage_req_1"] * 2


async def test_what_cannot_be_done_is_said_with_what_can(tmp_path: Path, clock: FakeClock) -> None:
    async with told(tmp_path, clock) as gateway:
        unknown = await gateway.admin("POST", "/admin/webhooks/nobody/test")
        assert unknown.status_code == 404
        assert "It has billing, ops." in unknown.json()["error"]["message"]
        gone = await gateway.admin("POST", "/admin/webhooks/ops/redeliver", {"id": "none"})
        assert (gone.status_code, gone.json()["error"]["code"]) == (404, "message_not_found")
        bad: tuple[Any, ...] = (
            {},
            {"id": 1},
            {"to": "1d"},
            {"until": "1d"},
            {"id": "a", "from": "1d"},
            [],
        )
        for asked in bad:
            refused = await gateway.admin("POST", "/admin/webhooks/ops/redeliver", asked)
            assert (refused.status_code, refused.json()["error"]["code"]) == (400, "invalid_field")


async def test_a_users_key_is_refused(tmp_path: Path, clock: FakeClock) -> None:
    async with told(tmp_path, clock) as gateway, gateway.client() as client:
        assert (await client.get("/admin/webhooks")).status_code == 403
