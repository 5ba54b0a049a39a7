"""Another policy's routes are tried in the shadow of those in force, or by some users."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from gateway.clock import FakeClock
from gateway.policy.sections.user_shares import share_of
from tests.gateway.assembled import POLICY, AssembledGateway, assembled

CHAT = {"model": "chat", "messages": [{"role": "user", "content": "hi"}]}
SPILLING = POLICY + "routes: [{name: away, use: [burst]}]\n"
OTHERWISE = POLICY.replace("slo: 2s", "slo: 3s")


@contextlib.asynccontextmanager
async def tried(
    folder: Path, clock: FakeClock
) -> AsyncIterator[tuple[AssembledGateway, httpx.AsyncClient]]:
    async with (
        assembled(folder, clock) as gateway,
        gateway.client(gateway.key("root", admin=True)) as admin,
    ):
        yield gateway, admin


async def backend_of(gateway: AssembledGateway, user: str) -> tuple[str, str]:
    """Of a call of the user: who answered, and by which policy."""
    async with gateway.client(gateway.key(user)) as client:
        answer = await client.post("/v1/chat/completions", json=CHAT)
        assert answer.status_code == 200, answer.text
        [row] = await gateway.rows(answer.headers["x-request-id"])
        return row.backend, row.policy


async def test_in_its_shadow_a_policy_changes_nothing_and_what_it_would_is_told(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with tried(tmp_path, clock) as (gateway, admin):
        begun = await admin.post("/admin/policy/shadow", content=SPILLING)
        assert begun.status_code == 200, begun.text
        version = begun.json()["in_force"]
        assert await backend_of(gateway, "alice") == ("home", version)
        told = (await admin.delete("/admin/policy/shadow")).json()["predicted"]
        after = (await admin.get("/admin/policy/shadow")).json()
    assert (told["calls"], told["elsewhere"], told["failed"]) == (1, 1, 0)
    assert told["moved"] == [{"from": "home", "to": "burst", "calls": 1}]
    assert told["candidate"]["usd"] > told["policy_in_force"]["usd"] == 0
    assert told["candidate"]["wait_s"] >= 5.0 > told["policy_in_force"]["wait_s"]
    assert (told["candidate"]["late"], told["candidate"]["cold"]) == (1, 1)
    assert after == {"candidate": None}


async def test_a_share_of_the_users_gets_its_routes_and_their_calls_name_it(
    tmp_path: Path, clock: FakeClock
) -> None:
    users = sorted((f"u{number}" for number in range(20)), key=share_of)
    percent = (share_of(users[9]) + share_of(users[10])) / 2
    async with tried(tmp_path, clock) as (gateway, admin):
        begun = await admin.post(f"/admin/policy/shadow?percent={percent}", content=SPILLING)
        told = begun.json()
        first, last = users[0], users[-1]
        tries = {user: await backend_of(gateway, user) for user in (first, last)}
        text = await admin.get(f"/admin/policy/{told['candidate']}")
        history = (await admin.get("/admin/policy/history")).json()
        await admin.delete("/admin/policy/shadow")
        again = await backend_of(gateway, first)
    assert tries == {first: ("burst", told["candidate"]), last: ("home", told["in_force"])}
    assert again == ("home", told["in_force"])
    assert "away" in text.json()["yaml"]
    assert [one["act"] for one in history["data"]] == ["try_out", "start"]
    assert history["in_force"] == told["in_force"]


async def test_it_ends_when_another_policy_is_applied_and_no_roll_back_returns_to_it(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with tried(tmp_path, clock) as (_, admin):
        before = (await admin.get("/admin/policy")).json()["policy"]
        await admin.post("/admin/policy/shadow", content=SPILLING)
        await admin.post("/admin/policy/apply", content=OTHERWISE)
        assert (await admin.get("/admin/policy/shadow")).json() == {"candidate": None}
        back = (await admin.post("/admin/policy/rollback")).json()
        assert back["policy"] == before


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        ("", OTHERWISE, (409, "more_than_routes")),
        ("", "version: 2", (400, "invalid_policy")),
        ("?percent=101", SPILLING, (400, "invalid_parameter")),
        ("?percent=nan", SPILLING, (400, "invalid_parameter")),
        ("?percent=some", SPILLING, (400, "invalid_parameter")),
        ("?share=3", SPILLING, (400, "invalid_parameter")),
    ],
    ids=["more than routes", "no policy", "more than all", "no number", "a word", "a share"],
)
async def test_what_cannot_be_tried_is_refused_with_why(
    path: str, text: str, expected: tuple[int, str], tmp_path: Path, clock: FakeClock
) -> None:
    async with tried(tmp_path, clock) as (_, admin):
        answer = await admin.post(f"/admin/policy/shadow{path}", content=text)
        assert (answer.status_code, answer.json()["error"]["code"]) == expected
        assert (await admin.get("/admin/policy/shadow")).json() == {"candidate": None}


def test_users_are_spread_evenly_and_whoever_is_among_few_is_among_more() -> None:
    shares = [share_of(f"user{number}") for number in range(10_000)]
    assert all(0 <= share < 100 for share in shares)
    for percent in (1, 10, 50, 90):
        assert sum(share < percent for share in shares) == pytest.approx(100 * percent, abs=150)
