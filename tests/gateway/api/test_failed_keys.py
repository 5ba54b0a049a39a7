"""What a client without a good key is told, and that one with a good key is never held up."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.api_keys import generate_key
from gateway.clock import FakeClock
from gateway.console.sign_in.cookies import SIGN_IN
from tests.gateway.assembled import POLICY, assembled

BOUNDED = POLICY.replace("access_log: false", "access_log: false, clients: {failed_keys: 2}")


async def test_past_the_bound_a_bad_key_is_429_and_a_good_one_is_taken(
    tmp_path: Path, clock: FakeClock
) -> None:
    """From the same address, on the same connection."""
    async with assembled(tmp_path, clock, BOUNDED) as gateway, gateway.client() as client:
        bad = {"Authorization": "Bearer sg-bad"}
        statuses = [
            (await client.get("/v1/models", headers=headers)).status_code
            for headers in (bad, bad, bad, {}, bad, {})
        ]
        assert statuses == [401, 401, 429, 200, 429, 200]
        refused = await client.get("/v1/models", headers=bad)
        assert refused.json()["error"]["code"] == "too_many_failed_keys"
        assert refused.headers["retry-after"] == "30"
        clock.move(30)
        assert (await client.get("/v1/models", headers=bad)).status_code == 401


@pytest.mark.parametrize(
    ("authorization", "code", "words"),
    [
        ("", "missing_api_key", "No API key was sent"),
        ("Basic YTpi", "missing_api_key", "holds no API key"),
        ("Bearer", "missing_api_key", "holds no API key"),
        ("Bearer sg-unknown", "invalid_api_key", "not known"),
        ("Bearer {revoked}", "invalid_api_key", "was revoked"),
        ("Bearer {expired}", "invalid_api_key", "has expired, or was rotated"),
        ("Bearer {rotated}", "invalid_api_key", "has expired, or was rotated"),
    ],
)
async def test_it_is_said_what_is_wrong_with_a_key(
    authorization: str, code: str, words: str, tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock) as gateway, gateway.client() as client:
        revoked, expired = gateway.key("bob"), gateway.key("carol", expires_in="1s")
        rotated = gateway.key("dave")
        ids = {one.principal.user: one.principal.key_id for one in gateway.inner.keys.list()}
        gateway.inner.keys.revoke(ids["bob"])
        gateway.inner.keys.rotate(ids["dave"], generate_key(), grace_s=1)
        clock.move(2)
        header = authorization.format(revoked=revoked, expired=expired, rotated=rotated)
        answer = await client.get("/v1/models", headers={"Authorization": header})
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, code)
        assert words in answer.json()["error"]["message"]
        assert answer.headers["www-authenticate"] == "Bearer"


async def test_a_page_without_a_key_is_told_how_it_gives_a_websocket_one(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock) as gateway, gateway.client() as client:
        for upgrade, told in (("websocket", True), ("", False)):
            headers = {"Authorization": "", "Upgrade": upgrade}
            answer = await client.get("/v1/realtime?model=talk", headers=headers)
            message = answer.json()["error"]["message"]
            assert (answer.status_code, "openai-insecure-api-key." in message) == (401, told)


async def test_a_new_key_waits_for_who_writes_to_the_keys(tmp_path: Path, clock: FakeClock) -> None:
    """It is not known yet, and the file cannot be read; nobody else is held up meanwhile."""
    async with assembled(tmp_path, clock) as gateway, gateway.client() as client:
        assert (await client.get("/v1/models")).status_code == 200
        new = {"Authorization": f"Bearer {gateway.key('bob')}"}
        with writing(tmp_path) as connection:
            asked = asyncio.create_task(client.get("/v1/models", headers=new))
            assert (await client.get("/v1/models")).status_code == 200
            assert not asked.done()
            connection.execute("ROLLBACK")
        assert (await asked).status_code == 200


async def test_a_new_key_signs_in_when_who_writes_to_the_keys_has_written(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock) as gateway, gateway.client() as client:
        assert (await client.get("/v1/models")).status_code == 200
        key = gateway.key("bob")
        with writing(tmp_path) as connection:
            asked = asyncio.create_task(client.post(SIGN_IN, data={"key": key}))
            assert (await client.get("/v1/models")).status_code == 200
            assert not asked.done()
            connection.execute("ROLLBACK")
        assert (await asked).status_code == 303


async def test_a_writer_to_the_keys_that_does_not_end_is_told(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock) as gateway, gateway.client() as client:
        new = {"Authorization": f"Bearer {gateway.key('bob')}"}
        with writing(tmp_path):
            answer = await client.get("/v1/models", headers=new)
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "store_unavailable")


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[sqlite3.Connection]:
    """Another program that has the keys' file to itself."""
    path = folder / "keys.db"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        yield connection
