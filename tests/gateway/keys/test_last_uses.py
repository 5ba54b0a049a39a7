"""When a key was used last is kept, at most a minute late, and costs a call no write."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

from gateway.clock import FakeClock
from gateway.key_requests import as_json
from gateway.keys.last_uses import EVERY_S, LastUses
from gateway.storage.base import StorageUnavailable
from gateway.storage.sqlite.keys import SqliteKeys
from gateway.types import Principal
from tests.gateway.assembled import AssembledGateway, assembled
from tests.waiting import until


def last_uses(gateway: AssembledGateway) -> dict[str, float | None]:
    return {one.principal.user: one.last_used_at for one in gateway.inner.keys.list()}


async def test_a_minute_later_it_is_known_when_a_key_was_used(
    tmp_path: Path, clock: FakeClock
) -> None:
    """A wrong key is a use of nobody's."""
    async with assembled(tmp_path, clock) as gateway:
        idle = gateway.key("idle")
        async with gateway.client(gateway.key("busy")) as client:
            for _ in range(3):
                await clock.advance(1.0)
                assert (await client.get("/v1/models")).status_code == 200
            wrong = {"Authorization": f"Bearer {idle}x"}
            assert (await client.get("/v1/models", headers=wrong)).status_code == 401
        assert last_uses(gateway) == {"idle": None, "busy": None}
        await clock.advance(EVERY_S)
        await until(lambda: last_uses(gateway)["busy"] is not None, "it is written")
        shown = [as_json(record, clock.time()) for record in gateway.inner.keys.list()]
        assert {one["user"]: one["last_used_at"] for one in shown} == {
            "idle": None,
            "busy": "2026-01-01T00:00:03Z",
        }
        assert gateway.inner.last_uses.noted == {}


async def test_whoever_lists_keys_is_told_of_the_last_minute_too(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock) as gateway:
        root = gateway.key("root", admin=True)
        async with gateway.client(gateway.key("busy")) as client:
            await client.get("/v1/models")
        async with gateway.client(root) as client:
            listed = (await client.get("/admin/keys")).json()["keys"]
        assert {one["user"] for one in listed if one["last_used_at"]} == {"root", "busy"}


async def test_a_gateway_that_ends_writes_what_it_noted(tmp_path: Path, clock: FakeClock) -> None:
    async with assembled(tmp_path, clock) as gateway, gateway.client() as client:
        await client.get("/v1/models")
    with contextlib.closing(SqliteKeys(tmp_path / "keys.db", clock=clock)) as keys:
        assert [one.last_used_at for one in keys.list()] == [clock.time()]


class KeysThatAreAway(SqliteKeys):
    """Nothing can be written there while they are ``away``."""

    away = True

    def note_uses(self, uses: Mapping[str, float]) -> None:
        if self.away:
            raise StorageUnavailable("away")
        super().note_uses(uses)


async def test_what_cannot_be_written_is_written_later_and_never_over_what_came_since(
    tmp_path: Path, clock: FakeClock
) -> None:
    keys = KeysThatAreAway(tmp_path / "keys.db", clock=clock)
    for name in ("a", "b"):
        keys.create(Principal(key_id=name, user=name), f"sg-{name}")
    uses = LastUses(keys, clock)
    uses.noted.update(a=1.0, b=2.0)
    await uses.write()
    assert uses.noted == {"a": 1.0, "b": 2.0}
    uses.noted["a"] = 5.0
    keys.away = False
    await uses.write()
    assert uses.noted == {}
    assert {one.principal.user: one.last_used_at for one in keys.list()} == {"a": 5.0, "b": 2.0}
    keys.close()
