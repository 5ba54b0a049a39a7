"""The ledger's disk is full: calls are refused at once, nobody paid is asked, and it passes."""

from __future__ import annotations

import contextlib
import resource
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Protocol

import httpx
import pytest

from tests.e2e.observing import error_of, metric
from tests.e2e.servers.paid import PaidServer
from tests.live import LiveGateway
from tests.waiting import until

CONFIG = """
backends:
  paid: {{kind: openai, base_url: "{url}", price: calls}}
models:
  chat: {{task: chat, backends: [paid]}}
prices:
  calls: {{per_call: 0.0001, as_of: 2026-11-01, source: test}}
plans:
  default: {{spend: 5 USD/month}}
"""
HELLO = {"model": "chat", "messages": [{"role": "user", "content": "hi"}]}
MOST_CALLS = 2000


class Disk(Protocol):
    """Holds the ledger."""

    folder: Path

    def fill(self, gateway: LiveGateway) -> None: ...

    def free(self, gateway: LiveGateway) -> None: ...


class SmallDisk:
    """A file system of two megabytes, filled by a file of somebody else's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fill(self, gateway: LiveGateway) -> None:
        ballast = self.folder / "ballast"
        with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
            while True:
                file.write(b"\0" * 4096)

    def free(self, gateway: LiveGateway) -> None:
        (self.folder / "ballast").unlink()


class FilesThatMayNotGrow:
    """Any file system; the kernel refuses the gateway every byte past a size."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fill(self, gateway: LiveGateway) -> None:
        self._limit(gateway, (self.folder / "ledger.db-wal").stat().st_size)

    def free(self, gateway: LiveGateway) -> None:
        self._limit(gateway, resource.RLIM_INFINITY)

    def _limit(self, gateway: LiveGateway, size: int) -> None:
        resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


@pytest.fixture(params=[SmallDisk, FilesThatMayNotGrow])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    folder = tmp_path / "disk"
    folder.mkdir()
    if request.param is FilesThatMayNotGrow:
        yield FilesThatMayNotGrow(folder)
        return
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("this user may not mount; the limit on file sizes is tested all the same")
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", str(folder)], check=True)


async def test_a_full_disk_refuses_calls_clearly_until_there_is_room(
    disk: Disk, tmp_path: Path
) -> None:
    """No call hangs, the paid backend hears of none, and nobody has to restart anything."""
    with PaidServer() as server:
        gateway = LiveGateway(
            tmp_path,
            CONFIG.format(url=server.url),
            server={"access_log": False},
            store={"ledger": f"sqlite:///{disk.folder}/ledger.db"},
        )
        with gateway:
            async with gateway.async_client() as client:
                assert await ask(client) is not None
                disk.fill(gateway)
                served = [id async for id in served_until_refused(client)]
                asked_before = server.calls
                await is_refused_for_a_while(gateway, client)
                assert server.calls == asked_before == 1 + len(served)
                disk.free(gateway)
                await until(lambda: serves(client), "it serves again")
                assert gateway.status_of("/readyz") == 200
                assert metric(gateway, "spillgate_ledger_failing") == 0
                for id in served:
                    assert (await client.get(f"/usage/{id}")).json()["outcome"] == "success"


async def ask(client: httpx.AsyncClient) -> str | None:
    """The id of a call that was served."""
    answer = await client.post("/v1/chat/completions", json=HELLO)
    if answer.status_code == 200:
        return answer.headers["x-request-id"]
    assert error_of(answer) == (503, "store_unavailable")
    assert answer.headers["retry-after"] == "1"
    return None


async def serves(client: httpx.AsyncClient) -> bool:
    return await ask(client) is not None


async def served_until_refused(client: httpx.AsyncClient) -> AsyncIterator[str]:
    for _ in range(MOST_CALLS):
        id = await ask(client)
        if id is None:
            return
        yield id
    pytest.fail("the disk is not full")


async def is_refused_for_a_while(gateway: LiveGateway, client: httpx.AsyncClient) -> None:
    """For longer than the second after which one call is let through to try the ledger."""
    end = time.monotonic() + 1.5
    while time.monotonic() < end:
        assert await ask(client) is None
    ready = await client.get("/readyz")
    assert (ready.status_code, ready.json()["missing"]) == (503, ["the ledger cannot be written"])
    assert metric(gateway, "spillgate_ledger_failing") == 1
    assert metric(gateway, "spillgate_refused_total", code="store_unavailable") > 0
