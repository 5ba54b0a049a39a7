"""/admin/keys: rotation by HTTP, and a delegate, who manages the keys of a team and no other."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from gateway.api.admin.endpoint import FOR_DELEGATES
from gateway.api.openapi import document
from gateway.clock import FakeClock
from tests.gateway.assembled import AssembledGateway, assembled

NLP = {"team": "nlp"}


@contextlib.asynccontextmanager
async def delegate(gateway: AssembledGateway) -> AsyncIterator[httpx.AsyncClient]:
    async with gateway.client(gateway.key("lead", delegate=True, tags=NLP)) as client:
        yield client


async def test_a_rotation_shows_another_key_and_how_long_the_old_one_works(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with (
        assembled(tmp_path, clock) as gateway,
        gateway.client(gateway.key("root", admin=True)) as client,
    ):
        made = (await client.post("/admin/keys", json={"user": "bob"})).json()
        path = f"/admin/keys/{made['id']}/rotate"
        rotated = (await client.post(path, json={"grace": "1h"})).json()
        assert rotated["id"] == made["id"]
        assert rotated["old_key_until"] == "2026-01-01T01:00:00Z"
        keys = gateway.inner.keys
        assert keys.find(made["key"]) == keys.find(rotated["key"]) is not None
        again = (await client.post(path)).json()
        assert keys.find(rotated["key"]) is None
        assert keys.find(again["key"]) is not None
        wrong = await client.post(path, json={"grace": "soon"})
        assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, "grace")
        assert (await client.post("/admin/keys/key_9/rotate")).status_code == 404
        told = (await client.get("/admin/audit?act=key.rotate")).json()["data"]
    assert [(one["target"], one["outcome"], one["details"]) for one in told] == [
        ("key_9", "refused: key_not_found", {}),
        (made["id"], "refused: invalid_key_request", {}),
        (made["id"], "done", {"grace": "0s"}),
        (made["id"], "done", {"grace": "1h"}),
    ]


async def test_a_delegate_makes_lists_rotates_and_revokes_the_keys_of_its_team(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock) as gateway, delegate(gateway) as client:
        gateway.key("eve", tags={"team": "search"})
        made = (await client.post("/admin/keys", json={"user": "bob"})).json()
        assert (made["tags"], made["role"]) == (NLP, "user")
        listed = (await client.get("/admin/keys")).json()["keys"]
        assert [one["user"] for one in listed] == ["bob"]
        rotated = (await client.post(f"/admin/keys/{made['id']}/rotate")).json()
        assert gateway.inner.keys.find(rotated["key"]) is not None
        assert (await client.delete(f"/admin/keys/{made['id']}")).status_code == 200
        assert gateway.inner.keys.find(rotated["key"]) is None


async def test_keys_of_others_are_none_to_a_delegate(tmp_path: Path, clock: FakeClock) -> None:
    """Neither those of another team, nor its own, nor a colleague's with more rights."""
    async with assembled(tmp_path, clock) as gateway, delegate(gateway) as client:
        gateway.key("eve", tags={"team": "search"})
        gateway.key("root", admin=True, tags=NLP)
        for record in gateway.inner.keys.list():
            path = f"/admin/keys/{record.principal.key_id}"
            assert (await client.delete(path)).status_code == 404
            assert (await client.post(f"{path}/rotate")).status_code == 404
        assert all(record.revoked_at is None for record in gateway.inner.keys.list())


async def test_a_key_with_more_rights_may_be_revoked_and_not_be_learned(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock) as gateway:
        lead = gateway.key("lead", delegate=True, tags=NLP, models=["chat"])
        gateway.key("bob", tags=NLP)
        async with gateway.client(lead) as client:
            [listed] = (await client.get("/admin/keys")).json()["keys"]
            refused = await client.post(f"/admin/keys/{listed['id']}/rotate")
            assert (refused.status_code, refused.json()["error"]["code"]) == (
                403,
                "beyond_delegation",
            )
            assert (await client.delete(f"/admin/keys/{listed['id']}")).status_code == 200


async def test_a_key_lives_no_longer_than_the_delegates(tmp_path: Path, clock: FakeClock) -> None:
    async with assembled(tmp_path, clock) as gateway:
        lead = gateway.key("lead", delegate=True, tags=NLP, expires_in="1h")
        async with gateway.client(lead) as client:
            made = (await client.post("/admin/keys", json={"user": "bob"})).json()
            longer = {"user": "bob", "expires_in": "2h"}
            refused = await client.post("/admin/keys", json=longer)
    assert made["expires_at"] == "2026-01-01T01:00:00Z"
    assert refused.json()["error"]["param"] == "expires_in"


ADMINS_ALONE = [
    (method, path)
    for path, of in document()["paths"].items()
    for method in of
    if path.startswith("/admin/") and path not in FOR_DELEGATES
]


@pytest.mark.parametrize(("method", "path"), ADMINS_ALONE)
async def test_the_rest_of_admin_is_not_for_delegates(
    method: str, path: str, tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock) as gateway, delegate(gateway) as client:
        refused = await client.request(method, path)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "admin_required")
    assert "/admin/keys" in refused.json()["error"]["message"]


async def test_a_delegate_sees_the_usage_of_its_team(tmp_path: Path, clock: FakeClock) -> None:
    async with assembled(tmp_path, clock) as gateway, delegate(gateway) as client:
        gateway.fake("home").runs_for = gateway.fake("burst").runs_for = 0.0
        ids = []
        for user, team in (("bob", "nlp"), ("eve", "search")):
            async with gateway.client(gateway.key(user, tags={"team": team})) as caller:
                ids.append((await caller.post("/v1/infer/any", json={})).headers["x-request-id"])
        usage = (await client.get("/usage")).json()
        calls = (await client.get("/usage/calls")).json()
        one = [(await client.get(f"/usage/{call}")).status_code for call in ids]
        refused = await client.get("/usage", params={"tag:team": "search"})
    assert [row["user"] for row in usage["rows"]] == ["bob"]
    assert [call["user"] for call in calls["data"]] == ["bob"]
    assert one == [200, 404]
    assert (refused.status_code, refused.json()["error"]["param"]) == (403, "tag:team")
