"""A key is told its own limits, and nothing of what others make of theirs."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.api_keys import generate_key
from gateway.clock import FakeClock
from tests.gateway.assembled import POLICY, assembled

LIMITED = POLICY.replace(
    "default: {", "default: {shared: {spend: 9 USD/day}, per_key: {requests: 7/minute}, "
)


async def test_a_key_learns_what_it_is_and_what_it_has_left(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, LIMITED) as gateway:
        key = gateway.key(plan="default", tags={"team": "nlp"}, limits={"spend": "2 USD/month"})
        async with gateway.client(key) as client:
            gateway.fake("burst").runs_for = 0.0
            await client.post("/v1/infer/any", json={})
            told = (await client.get("/v1/me")).json()
    assert (told["user"], told["plan"], told["role"]) == ("alice", "default", "user")
    assert told["tags"] == {"team": "nlp"}
    assert told["models"] == ["chat", "far", "any"]
    limits = {(one["scope"], one["unit"]): one for one in told["limits"]}
    assert limits["key", "usd"]["limit"] == limits["key", "usd"]["remaining"] == 2.0
    assert limits["key", "requests"] | {"resets_at": ""} == {
        "scope": "key",
        "name": told["key"],
        "unit": "requests",
        "window": "minute",
        "limit": 7,
        "remaining": 6,
        "resets_at": "",
    }
    assert limits["user", "gpu_seconds"]["limit"] == 100_000
    assert limits["user", "concurrent"]["resets_at"] is None
    assert limits["user", "usd"]["resets_at"] == "2026-02-01T00:00:00Z"


async def test_what_other_tenants_share_is_named_without_its_figures(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, LIMITED) as gateway, gateway.client() as client:
        told = (await client.get("/v1/me")).json()
    [shared] = [one for one in told["limits"] if one["scope"] == "plan"]
    assert (shared["unit"], shared["window"]) == ("usd", "day")
    assert shared["limit"] is shared["remaining"] is None


@pytest.mark.parametrize(("method", "status"), [("POST", 405), ("GET", 200)])
async def test_it_is_only_read(method: str, status: int, tmp_path: Path, clock: FakeClock) -> None:
    async with assembled(tmp_path, clock) as gateway, gateway.client() as client:
        assert (await client.request(method, "/v1/me")).status_code == status


async def test_it_says_when_the_key_that_was_sent_ends(tmp_path: Path, clock: FakeClock) -> None:
    """By its expiry, or the grace of its rotation; the one in its place has its own end."""
    async with assembled(tmp_path, clock) as gateway:
        old, new = gateway.key("bob", expires_in="2h"), generate_key()
        told = []
        for key in (gateway.key("alice"), old):
            async with gateway.client(key) as client:
                told.append((await client.get("/v1/me")).json()["expires_at"])
        [bob] = [one.principal for one in gateway.inner.keys.list() if one.principal.user == "bob"]
        gateway.inner.keys.rotate(bob.key_id, new, grace_s=3_600)
        for key in (old, new):
            async with gateway.client(key) as client:
                told.append((await client.get("/v1/me")).json()["expires_at"])
    assert told == [None, "2026-01-01T02:00:00Z", "2026-01-01T01:00:00Z", "2026-01-01T02:00:00Z"]
