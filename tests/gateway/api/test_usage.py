"""/usage over HTTP: a user's own, in two forms, whole or in part, or a clear error."""

from __future__ import annotations

import json
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


async def test_usage_comes_as_focus_and_commitments_to_an_admin_alone(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock) as gateway, gateway.client() as client:
        await client.post("/v1/chat/completions", json=CHAT)
        charges = await client.get("/usage?format=focus")
        assert charges.text.startswith("BilledCost,")
        assert len(charges.text.splitlines()) == 2
        elsewhere = await client.get("/usage?format=focus&tz=Europe/Berlin")
        assert (elsewhere.status_code, elsewhere.json()["error"]["param"]) == (400, "tz")
        assert (await client.get("/usage?format=focus-commitments")).status_code == 403
        admin = {"Authorization": f"Bearer {gateway.key('root', admin=True)}"}
        commitments = await client.get("/usage?format=focus-commitments", headers=admin)
        assert commitments.text.startswith("BillingCurrency,ContractCommitmentCategory,")


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


async def test_calls_are_listed_without_an_id_newest_first_and_ones_own_alone(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock) as gateway, gateway.client() as client:
        bob = {"Authorization": f"Bearer {gateway.key('bob')}"}
        admin = {"Authorization": f"Bearer {gateway.key('root', admin=True)}"}
        ids = []
        for headers in ({}, {}, bob):
            answer = await client.post("/v1/chat/completions", json=CHAT, headers=headers)
            ids.append(answer.headers["x-request-id"])
            await clock.advance(1)
        first = (await client.get("/usage/calls?limit=1")).json()
        second = (await client.get("/usage/calls", params={"after": first["next"]})).json()
        assert [row["id"] for row in (*first["data"], *second["data"])] == [ids[1], ids[0]]
        assert second["next"] is None
        assert {row["user"] for row in second["data"]} == {"alice"}
        everybodys = (await client.get("/usage/calls?outcome=success", headers=admin)).json()
        assert [row["id"] for row in everybodys["data"]] == ids[::-1]
        assert (await client.get("/usage/calls?user=alice", headers=bob)).status_code == 403


@pytest.mark.parametrize(
    ("query", "param", "says"),
    [
        ("outcome=failed", "outcome", "success, error"),
        ("kind=calls", "kind", "call, attempt, ping"),
        ("limit=0", "limit", "1 to 1000"),
        ("limit=many", "limit", "1 to 1000"),
        ("after=x", "after", "`next`"),
        ("after=W10=", "after", "`next`"),
        ("group_by=user", "group_by", "GET /usage"),
        ("colour=red", "colour", "unknown parameter"),
    ],
)
async def test_a_list_of_calls_that_cannot_be_had_is_explained(
    query: str, param: str, says: str, tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock) as gateway, gateway.client() as client:
        answer = await client.get(f"/usage/calls?{query}")
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (400, "invalid_parameter", param)
    assert says in error["message"]


async def test_usage_is_grouped_by_error_and_route(tmp_path: Path, clock: FakeClock) -> None:
    async with assembled(tmp_path, clock) as gateway, gateway.client() as client:
        await client.post("/v1/chat/completions", json=CHAT)
        [row] = (await client.get("/usage?group_by=error,route&error=")).json()["rows"]
    assert (row["error"], row["route"], row["calls"]) == ("", "default", 1)


async def test_calls_come_as_a_stream_where_that_is_asked(tmp_path: Path, clock: FakeClock) -> None:
    """A user's own; and a wish that cannot be met is an error before anything is told."""
    async with assembled(tmp_path, clock) as gateway, gateway.client() as client:
        answer = await client.post("/v1/chat/completions", json=CHAT)
        clock.move(1.0)
        lines = await client.get("/usage/calls?format=jsonl&attempts=true")
        assert [json.loads(line)["id"] for line in lines.text.splitlines()] == [
            answer.headers["x-request-id"]
        ]
        sheet = await client.get("/usage/calls?format=csv")
        assert (sheet.headers["content-type"], len(sheet.text.splitlines())) == (
            "text/csv; charset=utf-8",
            2,
        )
        bob = {"Authorization": f"Bearer {gateway.key('bob')}"}
        assert (await client.get("/usage/calls?format=jsonl", headers=bob)).text == ""
        for wish, param in (("format=xml", "format"), ("attempts=true", "attempts")):
            refused = await client.get(f"/usage/calls?{wish}")
            assert (refused.status_code, refused.json()["error"]["param"]) == (400, param)
