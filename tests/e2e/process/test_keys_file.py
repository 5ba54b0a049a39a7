"""The file of the keys is spoilt or replaced, before a gateway starts, beside it and below it."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from tests.e2e.observing import metric
from tests.live import LiveGateway
from tests.waiting import until

CONFIG = """
backends:
  home: {kind: openai, base_url: "http://127.0.0.1:9"}
models:
  chat: {task: chat, backends: [home]}
"""


def keys_file(gateway: LiveGateway) -> Path:
    [path] = gateway.config.parent.rglob("keys.db")
    return path


async def status_with(gateway: LiveGateway, key: str) -> int:
    async with gateway.async_client(key) as client:
        return (await client.get("/v1/models")).status_code


async def test_while_it_is_spoilt_known_keys_work_and_commands_say_what_is_wrong(
    tmp_path: Path,
) -> None:
    """No 500, and no traceback anywhere; a start with it is refused."""
    with LiveGateway(tmp_path, CONFIG) as gateway:
        path = keys_file(gateway)
        assert await status_with(gateway, gateway.admin_key) == 200
        path.write_bytes(b"no database" * 2000)

        async def told() -> bool:
            assert await status_with(gateway, gateway.admin_key) == 200
            return metric(gateway, "spillgate_keys_failing") == 1

        await until(told, "it is told")
        assert await status_with(gateway, "sg-unknown") == 503
        async with gateway.async_client(gateway.admin_key) as client:
            made = await client.post("/admin/keys", json={"user": "bob"})
            assert made.status_code == 503
            assert (await client.get("/readyz")).json()["warnings"]
        with pytest.raises(AssertionError, match="not a database") as refused:
            gateway.spillgate("keys", "list", "--config", str(gateway.config))
        assert "Traceback" not in str(refused.value)
    assert f"keys {path}: " in gateway.log
    assert "Traceback" not in gateway.log
    again = LiveGateway(tmp_path, CONFIG)
    again.start(wait_for="")
    assert again.process is not None
    assert await asyncio.to_thread(again.process.wait, 60) == 2
    again.stop()
    assert "keys.db" in again.log
    assert "Traceback" not in again.log


async def test_a_backup_that_is_moved_over_it_decides_from_then_on(tmp_path: Path) -> None:
    """A key that was made after it is refused, one that is in it goes on."""
    with LiveGateway(tmp_path, CONFIG) as gateway:
        path = keys_file(gateway)
        assert await status_with(gateway, gateway.admin_key) == 200
        shutil.copy(path, tmp_path / "backup.db")
        async with gateway.async_client(gateway.admin_key) as client:
            key: str = (await client.post("/admin/keys", json={"user": "bob"})).json()["key"]
        assert await status_with(gateway, key) == 200
        (tmp_path / "backup.db").replace(path)

        async def refused() -> bool:
            return await status_with(gateway, key) == 401

        await until(refused, "the key is refused")
        assert await status_with(gateway, gateway.admin_key) == 200
    assert "another file stands in its place" in gateway.log
    assert "Traceback" not in gateway.log
