"""What an administrator sees of policies by HTTP, and does to them."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.clock import FakeClock
from tests.gateway.assembled import POLICY, AssembledGateway, assembled

QUICKER = POLICY.replace("slo: 20s", "slo: 10s")


@contextlib.asynccontextmanager
async def admin(folder: Path, clock: FakeClock) -> AsyncIterator[httpx.AsyncClient]:
    async with assembled(folder, clock) as gateway, client_of(gateway) as client:
        yield client


def client_of(
    gateway: AssembledGateway,
) -> contextlib.AbstractAsyncContextManager[httpx.AsyncClient]:
    return gateway.client(gateway.key("root", admin=True))


def error_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


async def history(client: httpx.AsyncClient, **asked: Any) -> dict[str, Any]:
    told: dict[str, Any] = (await client.get("/admin/policy/history", params=asked)).json()
    return told


async def test_what_is_applied_is_in_the_history_with_who_did_it_and_can_be_read(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with admin(tmp_path, clock) as client:
        before = (await client.get("/admin/policy")).json()["policy"]
        checked = (await client.post("/admin/policy/validate", content=QUICKER)).json()
        applied = (
            await client.post(
                "/admin/policy/apply", content=QUICKER, params={"expected": checked["in_force"]}
            )
        ).json()
        told = await history(client)
        key = (await client.get("/v1/me")).json()["key"]
        text = (await client.get(f"/admin/policy/{applied['policy']}")).json()
        again = (await client.post("/admin/policy/validate", content=text["yaml"])).json()
        first = (await client.get(f"/admin/policy/{before}")).json()
    assert checked["policy"] == applied["policy"] == told["in_force"] == again["policy"]
    assert (checked["in_force"], checked["diff"]) == (before, applied["diff"])
    assert "-    slo: 20s\n+    slo: 10s\n" in applied["diff"]
    assert again["diff"] == ""
    assert told["data"][0] == applied["change"]
    assert [(one["act"], one["policy"]) for one in told["data"]] == [
        ("apply", applied["policy"]),
        ("start", before),
    ]
    assert [one["actor"] for one in told["data"]] == [f"key:{key}", "gateway"]
    assert (text["in_force"], first["in_force"]) == (True, False)


async def test_a_roll_back_goes_to_the_policy_before_or_to_the_one_that_is_named(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with admin(tmp_path, clock) as client:
        before = (await client.get("/admin/policy")).json()["policy"]
        applied = (await client.post("/admin/policy/apply", content=QUICKER)).json()["policy"]
        back = (await client.post("/admin/policy/rollback")).json()
        forth = (await client.post("/admin/policy/rollback", json={"version": applied})).json()
        assert (back["policy"], forth["policy"]) == (before, applied)
        told = await history(client, limit=2)
        rest = await history(client, after=told["next"])
    assert [one["act"] for page in (told, rest) for one in page["data"]] == [
        "roll_back",
        "roll_back",
        "apply",
        "start",
    ]
    assert rest["next"] is None


REFUSED: dict[str, tuple[str, str, tuple[int, str]]] = {
    "another one is in force": ("apply?expected=0123456789ab", QUICKER, (409, "policy_changed")),
    "no such parameter": ("apply?force=1", QUICKER, (400, "invalid_parameter")),
    "no policy": ("apply", "version: 2", (400, "invalid_policy")),
    "a version that never was": (
        "rollback",
        '{"version": "0123456789ab"}',
        (404, "policy_not_found"),
    ),
    "no JSON": ("rollback", "{", (400, "invalid_json")),
    "no version": ("rollback", "{}", (400, "invalid_request")),
    "a number": ("rollback", '{"version": 3}', (400, "invalid_request")),
    "more than a version": ("rollback", '{"version": "x", "force": 1}', (400, "invalid_request")),
    "nothing before": ("rollback", "", (409, "no_earlier_policy")),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_what_cannot_be_done_changes_nothing_and_says_why(
    case: str, tmp_path: Path, clock: FakeClock
) -> None:
    path, body, expected = REFUSED[case]
    async with admin(tmp_path, clock) as client:
        before = await history(client)
        assert error_of(await client.post(f"/admin/policy/{path}", content=body)) == expected
        assert await history(client) == before


@pytest.mark.parametrize("query", ["limit=0", "limit=501", "after=x", "user=a"])
async def test_an_odd_question_is_refused(query: str, tmp_path: Path, clock: FakeClock) -> None:
    async with admin(tmp_path, clock) as client:
        answer = await client.get(f"/admin/policy/history?{query}")
        assert error_of(answer) == (400, "invalid_parameter")


async def test_a_version_that_never_was_in_force_is_not_there(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with admin(tmp_path, clock) as client:
        assert error_of(await client.get("/admin/policy/none")) == (404, "policy_not_found")


async def test_it_is_an_admins_alone(tmp_path: Path, clock: FakeClock) -> None:
    async with assembled(tmp_path, clock) as gateway, gateway.client() as client:
        for path in ("/admin/policy/history", "/admin/policy/none"):
            assert (await client.get(path)).status_code == 403
