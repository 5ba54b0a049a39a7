"""Local backends over the programs of tests/programs, for the tests of ``kind: local``."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from adapters.errors import BackendError
from adapters.local.backend import Local
from adapters.local.settings import LocalSettings
from adapters.types import Call, Chunk, Task
from gateway.clock import SystemClock
from tests.waiting import until

PROGRAMS = Path(__file__).parents[2] / "programs"
NUMBERS = iter(range(1_000_000))


@asynccontextmanager
async def running(app: str, *, wait: bool = True, **settings: Any) -> AsyncIterator[Local]:
    """A backend over one of the programs; ready when it is yielded, gone afterwards. Calls do not
    wait for starts, unless ``settings`` say so."""
    options = {"start_timeout": 30.0, "grace": 0.2, "wait_for_start": 0.0, **settings}
    async with standing(LocalSettings(app=str(PROGRAMS / app), **options), wait=wait) as backend:
        yield backend


@asynccontextmanager
async def standing(settings: LocalSettings, *, wait: bool = True) -> AsyncIterator[Local]:
    """A backend of these settings; ready when it is yielded, closed afterwards."""
    backend = Local.class_of(settings)("home", settings, SystemClock())
    await backend.start()
    try:
        if wait:
            await until(lambda: backend.slots > 0)
        yield backend
    finally:
        await backend.aclose()


async def workers(backend: Local, count: int) -> None:
    async def there() -> bool:
        return (await backend.probe()).warm_workers == count

    await until(there, f"{count} workers")


def call(body: Any, task: Task = "infer", *, stream: bool = False, **more: Any) -> Call:
    data = json.dumps(body).encode()
    id = more.pop("id", f"call-{next(NUMBERS)}")
    return Call(id=id, model="m", task=task, body=data, stream=stream, **more)


async def answer(backend: Local, body: Any, task: Task = "infer") -> Any:
    return json.loads((await backend.invoke(call(body, task))).body)


async def chunks(backend: Local, body: Any, task: Task = "infer") -> list[Chunk]:
    reply = await backend.invoke(call(body, task, stream=True))
    assert reply.chunks is not None
    return [chunk async for chunk in reply.chunks]


async def failure(backend: Local, body: Any, task: Task = "infer", **more: Any) -> BackendError:
    with pytest.raises(BackendError) as caught:
        await backend.invoke(call(body, task, **more))
    return caught.value


def pids(parent: int | None = None) -> list[int]:
    """Of the workers below the supervisors that ``parent`` (this process) started, in the order
    of their index, as the kernel knows them. Where there are spares, see ``processes``."""
    found = {}
    for pid in processes(parent):
        words = command_of(pid)
        if "--index" in words:
            found[words[words.index("--index") + 1]] = pid
    return [found[index] for index in sorted(found)]


def processes(parent: int | None = None) -> list[int]:
    """All that those supervisors started, spares included."""
    return [
        pid
        for entry in Path("/proc").iterdir()
        if (pid := int(entry.name) if entry.name.isdigit() else 0)
        and "local_runtime.worker" in command_of(pid)
        and grandparent_of(pid) == (parent or os.getpid())
        and alive(pid)
    ]


def command_of(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except OSError:
        return []


def parent_of(pid: int) -> int:
    """Field 4 of /proc/PID/stat (man 5 proc); 0 for a process that is gone."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def grandparent_of(pid: int) -> int:
    return parent_of(parent_of(pid))


def alive(pid: int) -> bool:
    """It runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
