"""/usage over HTTP: a user's own, in two forms, whole or in part, or a clear error."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.clock import FakeClock
from tests.gateway.assembled import assembled

CHAT = {"model": "chat", "messages": [{"role": "user", "content": "hello"}]}


async def test_a_user_sees_their_own_spending_and_no_other(
    tmp_path: Path, clock: FakeClock
) -> None:
    """Not by the report, not by asking for another, not by another's request id."""
    async with assembled(tmp_path, clock) as gateway, gateway.client() as client:
        bob = {"Authorization": f"Bearer {gateway.key('bob')}"}
        admin = {"Authorization": f"Bearer {gateway.key('root', admin=True)}"}
        answer = await client.post("/v1/chat/completions", json=CHAT)
        report = (await client.get("/usage", headers=bob)).json()
        assert report["totals"]["calls"] == 0
        assert (await client.get("/usage?user=alice", headers=bob)).status_code == 403
        other = await client.get(f"/usage/{answer.headers['x-request-id']}", headers=bob)
        assert other.status_code == 404
        everything = (await client.get("/usage", headers=admin)).json()
        assert everything["totals"]["calls"] == 1


async def test_usage_comes_as_csv_where_that_is_asked(tmp_path: Path, clock: FakeClock) -> None:
    """By Accept or by ?format=."""
    async with assembled(tmp_path, clock) as gateway, gateway.client() as client:
        await client.post("/v1/chat/completions", json=CHAT)
        by_header = await client.get("/usage", headers={"Accept": "text/csv"})
        by_query = await client.get("/usage?format=csv")
        assert by_header.text == by_query.text
        assert by_header.text.splitlines()[0].startswith("user,calls,")
        assert (await client.get("/usage?format=pdf")).status_code == 400


async def test_a_report_says_how_many_groups_its_limit_left_out(
    tmp_path: Path, clock: FakeClock
) -> None:
    """In JSON, and beside CSV."""
    async with assembled(tmp_path, clock) as gateway, gateway.client() as client:
        admin = {"Authorization": f"Bearer {gateway.key('root', admin=True)}"}
        for user in ("alice", "bob"):
            key = {"Authorization": f"Bearer {gateway.key(user)}"}
            await client.post("/v1/chat/completions", json=CHAT, headers=key)
        part = (await client.get("/usage?limit=1", headers=admin)).json()
        assert (len(part["rows"]), part["left_out"]["groups"], part["limit"]) == (1, 1, 1)
        assert part["totals"]["calls"] == 2
        sheet = await client.get("/usage?limit=1&format=csv", headers=admin)
        assert sheet.headers["x-spillgate-groups-left-out"] == "1"
        refused = await client.get("/usage?limit=none", headers=admin)
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, "limit")


@pytest.mark.parametrize("path", ["/usage", "/usage/req_1"])
async def test_a_ledger_that_cannot_be_read_is_503_and_one_line_of_the_log(
    path: str, tmp_path: Path, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Not 500, and no traceback."""
    async with assembled(tmp_path, clock) as gateway, gateway.client() as client:
        (tmp_path / "ledger.db").write_bytes(b"no database" * 500)
        answer = await client.get(path)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "store_unavailable")
    assert answer.headers["retry-after"] == "1"
    [line] = [record for record in caplog.records if "ledger.db" in record.getMessage()]
    assert line.exc_info is None
