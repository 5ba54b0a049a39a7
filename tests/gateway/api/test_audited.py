"""Every administrative act by HTTP is in the audit log, and none is done that cannot be there."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.api.admin.audited import ACTS
from gateway.api.openapi import document
from gateway.clock import FakeClock
from gateway.storage.audit import Act
from gateway.storage.base import StorageUnavailable
from gateway.storage.sqlite.keys import SqliteKeys
from tests.gateway.assembled import AssembledGateway, assembled


def test_whatever_may_change_something_is_an_act() -> None:
    """To check a policy changes nothing."""
    paths = {
        (method.upper(), path)
        for path, of in document()["paths"].items()
        for method in of
        if path.startswith("/admin/") and method != "get"
    }
    acts = {(method, path.replace(":path", "")) for method, path in ACTS}
    assert paths - acts == {("POST", "/admin/policy/validate")}
    assert acts <= paths


@contextlib.asynccontextmanager
async def admin(gateway: AssembledGateway) -> AsyncIterator[httpx.AsyncClient]:
    async with gateway.client(gateway.key("root", admin=True)) as client:
        yield client


async def told(client: httpx.AsyncClient, **asked: Any) -> list[dict[str, Any]]:
    data: list[dict[str, Any]] = (await client.get("/admin/audit", params=asked)).json()["data"]
    return data


async def test_keys_leave_who_made_and_revoked_them(tmp_path: Path, clock: FakeClock) -> None:
    async with assembled(tmp_path, clock) as gateway, admin(gateway) as client:
        made = (await client.post("/admin/keys", json={"user": "bob"})).json()
        await client.delete(f"/admin/keys/{made['id']}")
        await client.delete(f"/admin/keys/{made['id']}")
        await client.post("/admin/keys", json={"user": "bob", "plan": "golden"})
        entries = await told(client)
        who = (await client.get("/v1/me")).json()["key"]
        assert made["key"] not in str(entries)
    assert [(one["act"], one["outcome"]) for one in entries] == [
        ("key.create", "refused: invalid_key_request"),
        ("key.revoke", "refused: key_not_found"),
        ("key.revoke", "done"),
        ("key.create", "done"),
    ]
    assert {(one["actor"], one["address"]) for one in entries} == {(f"key:{who}", "127.0.0.1")}
    assert [one["target"] for one in entries] == ["", made["id"], made["id"], made["id"]]
    assert entries[-1]["details"] == {"user": "bob", "plan": "default", "role": "user"}


async def test_what_is_no_key_leaves_its_beginning_and_its_end(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock) as gateway, admin(gateway) as client:
        await client.post("/admin/backends/home/drain")
        await client.post("/admin/policy/rollback")
        await client.post("/admin/policy/validate", content="version: 1")
        entries = await told(client)
        assert [one["target"] for one in await told(client, act="backend.drain")] == ["home"] * 2
    assert [(one["act"], one["outcome"]) for one in entries] == [
        ("policy.roll_back", "refused: no_earlier_policy"),
        ("policy.roll_back", "begun"),
        ("backend.drain", "done"),
        ("backend.drain", "begun"),
    ]


class UnwritableKeys(SqliteKeys):
    """Takes no entries."""

    def record(self, act: Act) -> None:
        raise StorageUnavailable("the disk is full")


async def test_what_cannot_be_audited_is_not_done(tmp_path: Path, clock: FakeClock) -> None:
    async with assembled(tmp_path, clock) as gateway, admin(gateway) as client:
        keys, gateway.inner.keys = gateway.inner.keys, UnwritableKeys(tmp_path / "keys.db")
        try:
            refused = await client.post("/admin/backends/home/drain")
            assert (refused.status_code, refused.json()["error"]["code"]) == (
                503,
                "store_unavailable",
            )
            assert not gateway.inner.active.backends["home"].draining
        finally:
            gateway.inner.keys.close()
            gateway.inner.keys = keys


async def test_the_log_is_an_admins_alone(tmp_path: Path, clock: FakeClock) -> None:
    async with assembled(tmp_path, clock) as gateway, gateway.client() as client:
        assert (await client.get("/admin/audit")).status_code == 403


@pytest.mark.parametrize(
    ("query", "param"),
    [("limit=0", "limit"), ("limit=1001", "limit"), ("after=x", "after"), ("user=a", "user")],
)
async def test_an_odd_question_is_refused(
    query: str, param: str, tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock) as gateway, admin(gateway) as client:
        answer = await client.get(f"/admin/audit?{query}")
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


async def test_pages_end(tmp_path: Path, clock: FakeClock) -> None:
    async with assembled(tmp_path, clock) as gateway, admin(gateway) as client:
        for user in ("a", "b", "c"):
            await client.post("/admin/keys", json={"user": user})
        first = (await client.get("/admin/audit?limit=2")).json()
        last = (await client.get(f"/admin/audit?limit=2&after={first['next']}")).json()
    users = [one["details"]["user"] for page in (first, last) for one in page["data"]]
    assert (users, last["next"]) == (["c", "b", "a"], None)
