"""The spare platform as a process: RunPod's own client in front, RunPod's own worker behind."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from adapters.base import Scalable, Warmable
from adapters.runpod.backend import RunPod
from adapters.runpod.settings import RunPodSettings
from adapters.settings import Secret
from adapters.types import Call
from gateway.clock import SystemClock
from tests.adapters.scenarios import KEY, Stage, until
from tests.adapters.stages import ROOT, Front

WORKER = ["--worker", "tests.programs.runpod.worker"]


@contextlib.contextmanager
def front(*options: str) -> Iterator[Front]:
    running = Front(*WORKER, *options)
    try:
        yield running
    finally:
        running.process.kill()
        running.process.wait(10)


def backend_for(running: Front, **settings: Any) -> RunPod:
    return RunPod(
        "overflow",
        RunPodSettings(
            endpoint="overflow",
            api_key=Secret(KEY),
            base_url=running.url,
            management_url=running.url,
            poll_every=0.05,
            **settings,
        ),
        SystemClock(),
    )


def children_of(pid: int) -> list[int]:
    """The processes below one, at any depth, from /proc."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            stat = (entry / "stat").read_text()
            parents[int(entry.name)] = int(stat.rsplit(")", 1)[1].split()[1])
    found = [pid]
    for known in found:
        found += [child for child, parent in parents.items() if parent == known]
    return found[1:]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


async def test_a_first_call_is_a_cold_start_and_an_idle_worker_is_ended() -> None:
    """The life of a worker, as the calls and the probe see it."""
    with front("--idle-timeout", "1") as running:
        backend = backend_for(running)
        await backend.start()
        assert not (await backend.probe()).ready
        call = Call(id="1", model="m", task="infer", body=b'{"echo": 1}')
        cold = (await backend.invoke(call)).usage
        warm = (await backend.invoke(call)).usage
        assert cold.cold_s is not None
        assert cold.cold_s > 0.3
        assert (warm.cold_s, warm.worker) == (0.0, cold.worker)
        assert (await backend.probe()).warm_workers == 1
        workers = children_of(running.process.pid)
        assert workers
        await until(lambda: running.health()["workers"]["ready"] == 0)
        await until(lambda: not any(alive(pid) for pid in workers))
        await backend.aclose()


async def test_a_call_tells_that_it_waits_while_no_worker_may_start() -> None:
    """Its job is in the queue until ``workers.max`` is raised."""
    with front("--idle-timeout", "600") as running:
        backend = backend_for(running, wait=1.0, scale_max=1)
        closing = backend_for(running, scale_max=0)
        await backend.start()
        await closing.start()
        await closing.keep_workers(0)
        call = Call(id="1", model="m", task="infer", body=b'{"echo": 1}')
        asked = time.monotonic()
        running_call = asyncio.create_task(backend.invoke(call))
        await until(lambda: call.progress.queued_until > asked)
        assert "workers.max is 0" in (await backend.probe()).detail
        await backend.keep_workers(0)
        usage = (await running_call).usage
        await closing.aclose()
        await backend.aclose()
    assert usage.cold_s is not None
    assert 1.0 <= call.progress.queued_until - asked <= usage.cold_s + 0.5


async def test_a_ping_wakes_a_worker_and_the_least_number_is_kept() -> None:
    """Warm workers by the adapter's two abilities."""
    with front("--idle-timeout", "0.3") as running:
        backend = backend_for(running)
        await backend.start()
        assert isinstance(backend, Warmable)
        assert isinstance(backend, Scalable)
        await backend.keep_workers(1)
        await until(lambda: running.health()["workers"]["ready"] == 1)
        assert (await backend.ping()).reported
        await backend.keep_workers(0)
        await until(lambda: running.health()["workers"]["ready"] == 0)
        await backend.aclose()


@pytest.mark.parametrize("how", ["terminate", "kill"])
async def test_no_worker_outlives_the_front_however_it_ends(how: str) -> None:
    """The worker's heartbeat process, which survives its parent, included."""
    with front("--preload") as running:
        await until(lambda: running.health()["workers"]["ready"] == 1)
        await until(lambda: len(children_of(running.process.pid)) == 2)
        workers = children_of(running.process.pid)
        getattr(running.process, how)()
        running.process.wait(10)
        await until(lambda: not any(alive(pid) for pid in workers))


async def test_a_front_without_a_key_does_not_start() -> None:
    environ = {name: value for name, value in os.environ.items() if name != "RUNPOD_API_KEY"}
    command = [sys.executable, "-m", "examples.overflow", "--port", "1"]
    ended = subprocess.run(
        command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=20
    )
    assert ended.returncode == 2
    assert "RUNPOD_API_KEY" in ended.stderr


# --- RunPod's own client ------------------------------------------------------------------------

CLIENT = """
import json, os, sys
import runpod
runpod.api_key = os.environ["RUNPOD_API_KEY"]
runpod.endpoint_url_base = sys.argv[2]
found = {"stream": list(runpod.Endpoint("overflow").run({"stream": 3}).stream())}
runpod.endpoint_url_base = sys.argv[1]
endpoint = runpod.Endpoint("overflow")
found["sync"] = endpoint.run_sync({"echo": {"a": 1}}, timeout=30)
job = endpoint.run({"echo": [1]})
found["output"] = job.output(timeout=30)
found["status"] = job.status()
slow = endpoint.run({"sleep": 60})
found["cancel"] = slow.cancel(timeout=5)["status"]
found["cancelled"] = slow.status()
found["health"] = sorted(endpoint.health())
found["purge"] = endpoint.purge_queue()
runpod.api_key = "wrong"
try:
    runpod.Endpoint("overflow").health()
except Exception as error:
    found["refused"] = type(error).__name__
print("FOUND " + json.dumps(found))
"""


def with_the_genuine_client(*urls: str) -> dict[str, Any]:
    """In a process of its own, for its import takes over the root logger."""
    environ = {**os.environ, "RUNPOD_ENDPOINT_BASE_URL": urls[0], "RUNPOD_API_KEY": KEY}
    ended = subprocess.run(
        [sys.executable, "-c", CLIENT, *urls],
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
    )
    lines = [line for line in ended.stdout.splitlines() if line.startswith("FOUND ")]
    assert lines, ended.stderr
    found: dict[str, Any] = json.loads(lines[0].removeprefix("FOUND "))
    return found


def url_of(stage: Stage, endpoint: str) -> str:
    return str(stage.backend(endpoint)._settings.base_url)  # type: ignore[attr-defined]


def test_runpods_own_client_finds_in_the_front_the_platform_it_knows(
    stages: Callable[[str], Stage],
) -> None:
    stage = stages("runpod")
    found = with_the_genuine_client(url_of(stage, "plain"), url_of(stage, "stream"))
    assert found == {
        "stream": [{"n": 0}, {"n": 1}, {"n": 2}],
        "sync": {"a": 1},
        "output": [1],
        "status": "COMPLETED",
        "cancel": "CANCELLED",
        "cancelled": "CANCELLED",
        "health": ["jobs", "workers"],
        "purge": {"removed": 0, "status": "completed"},
        "refused": "RuntimeError",
    }


# --- the front's own answers --------------------------------------------------------------------


@pytest.fixture
def plain_url(stages: Callable[[str], Stage]) -> str:
    return url_of(stages("runpod"), "plain") + "/overflow"


def ask(url: str, body: bytes | None = None, *, key: str = KEY) -> tuple[int, dict[str, Any]]:
    request = urllib.request.Request(url, body, {"Authorization": f"Bearer {key}"})
    try:
        with urllib.request.urlopen(request, timeout=20) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/runsync", b"not json", 400),
        ("/runsync", b"{}", 400),
        ("/runsync", b'{"input": 3}', 400),
        ("/runsync?wait=5", b'{"input": {}}', 400),
        ("/run", b'{"input": {"x": "' + b"y" * 10_000_000 + b'"}}', 413),
        ("/status/nothing", None, 404),
        ("/stream/nothing", None, 404),
        ("/cancel/nothing", b"", 404),
        ("/retry/nothing", b"", 404),
    ],
)
def test_what_the_platform_refuses_the_front_refuses(
    plain_url: str, path: str, body: bytes | None, status: int
) -> None:
    assert ask(plain_url + path, body)[0] == status


def test_a_wrong_key_is_refused_before_anything_else(plain_url: str) -> None:
    assert ask(plain_url + "/health", key="wrong")[0] == 401


def test_a_failed_job_can_be_retried_and_a_completed_one_cannot(plain_url: str) -> None:
    failed = ask(plain_url + "/runsync", b'{"input": {"fail": "boo"}}')[1]
    assert failed["status"] == "FAILED"
    assert ask(f"{plain_url}/retry/{failed['id']}", b"")[1]["status"] == "IN_QUEUE"
    done = ask(plain_url + "/runsync", b'{"input": {"echo": 1}}')[1]
    assert ask(f"{plain_url}/retry/{done['id']}", b"")[0] == 400


async def test_progress_of_a_real_worker_is_no_result(stages: Callable[[str], Stage]) -> None:
    """The worker posts progress as an output while the job is IN_PROGRESS."""
    async with contextlib.aclosing(stages("runpod").backend()) as backend:
        await backend.start()
        call = Call(id="p", model="m", task="infer", body=b'{"progress": 5}')
        assert json.loads((await backend.invoke(call)).body) == {"echo": 5}
