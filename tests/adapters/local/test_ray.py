"""Workers on two machines of a Ray cluster, both of which are this one."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from adapters.errors import FailureClass
from adapters.local.backend import Local
from adapters.local.ray_settings import Replicas
from adapters.types import Call
from local_runtime.protocol.events import WorkerChanged
from local_runtime.protocol.scale_events import decode_from_supervisor
from local_runtime.protocol.wire import FrameReader
from tests.adapters.local.backends import (
    PROGRAMS,
    alive,
    answer,
    call,
    chunks,
    command_of,
    failure,
    parent_of,
)
from tests.adapters.local.ray_clusters import RayCluster, links, ray_cluster, running_on
from tests.live import ROOT
from tests.waiting import until

TWO = Replicas(min=2)


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayCluster]:
    """A head, a node with two CPUs and two GPUs that exist by its word alone, and one with two
    CPUs. Nothing of it is left afterwards."""
    with ray_cluster() as started:
        started.add(cpus=2, gpus=2)
        started.add(cpus=2)
        mine = started.processes()
        assert sum("raylet" in command_of(pid)[0] for pid in mine) == 3
        yield started
        mine += started.processes()
    assert [pid for pid in mine if alive(pid)] == []


async def everywhere(backend: Local, body: dict[str, Any], count: int) -> list[dict[str, Any]]:
    """The answers of ``count`` workers, one each."""
    calls = [answer(backend, {"sleep": 0.1, **body}) for _ in range(4 * count)]
    found = {one["pid"]: one for one in await asyncio.gather(*calls)}
    assert len(found) == count
    return list(found.values())


def nodes(backend: Local) -> set[str]:
    """The addresses of the machines that the workers are on."""
    found = (link.socket._transport for link in backend._workers.connections)
    return {one.get_extra_info("peername")[0] for one in found if one is not None}


# --- calls --------------------------------------------------------------------------------------


async def test_workers_on_two_machines_answer_stream_batch_and_cancel(cluster: RayCluster) -> None:
    """They were given no GPU, and see none of their machine's."""
    async with running_on(cluster, replicas=TWO, device="cpu") as backend:
        assert len(nodes(backend)) == 2
        seen = [one["env"] for one in await everywhere(backend, {}, 2)]
        assert {env["SPILLGATE_WORKER"] for env in seen} == {"0", "1"}
        assert {env["SPILLGATE_DEVICE"] for env in seen} == {"cpu"}
        assert {env["CUDA_VISIBLE_DEVICES"] for env in seen} == {""}
        said = await chunks(backend, {"to": 3}, "chat")
        assert [chunk.kind for chunk in said] == ["data", "data", "data", "done"]
        texts = [answer(backend, {"text": "x" * n}, "embeddings") for n in range(1, 7)]
        answers = await asyncio.gather(*texts)
        assert [one["length"] for one in answers] == [1, 2, 3, 4, 5, 6]
        assert max(one["of"] for one in answers) == 3
        await cancelled_in_time(backend)


async def cancelled_in_time(backend: Local) -> None:
    """A call that would sleep for a minute ends when it is cancelled, and its worker says so."""
    waiting = asyncio.create_task(backend.invoke(call({"sleep": 60}, id="too-long")))
    entries = [link.calls for link in backend._workers.connections]
    await until(lambda: any(entries))
    await until(lambda: have_begun(backend, ["too-long"]), "the call runs")
    usage = await backend.cancel("too-long")
    assert usage is not None
    assert usage.exec_s is not None
    assert usage.exec_s < 30
    with pytest.raises(Exception, match="cancelled"):
        await waiting
    await until(lambda: not any(entries))


async def have_begun(backend: Local, ids: list[str], count: int = 1) -> bool:
    return len(await begun(backend, ids)) >= count


async def begun(backend: Local, ids: list[str]) -> list[str]:
    """Those of the calls that began to run, by the word of the workers that are there."""
    body = json.dumps({"ids": ids}).encode()
    ask = [Call(id=f"ask-{n}", model="m", task="completions", body=body) for n in range(8)]
    replies = await asyncio.gather(*(backend.invoke(one) for one in ask))
    return sorted({id for reply in replies for id in json.loads(reply.body)})


async def test_a_worker_sees_the_gpu_that_ray_gave_it_alone(cluster: RayCluster) -> None:
    async with running_on(cluster, replicas=TWO, gpus=1) as backend:
        seen = [one["env"] for one in await everywhere(backend, {}, 2)]
        assert {env["CUDA_VISIBLE_DEVICES"] for env in seen} == {"0", "1"}
        assert len(nodes(backend)) == 1


async def test_a_worker_that_finds_no_place_says_what_it_waits_for_and_goes_when_told(
    cluster: RayCluster,
) -> None:
    """Closing does not wait for a place that will never be."""
    async with running_on(cluster, gpus=3, ready=0) as backend:
        await until(lambda: "needs 3 GPUs and 1 CPU" in backend._workers.detail)
        error = await failure(backend, {})
        assert error.failure is FailureClass.LOADING


# --- the app ------------------------------------------------------------------------------------


async def test_ray_brings_a_folder_to_the_machines(cluster: RayCluster, tmp_path: Path) -> None:
    """The worker's own folder is a copy of it."""
    shutil.copy(PROGRAMS / "placed.py", tmp_path / "brought.py")
    async with running_on(cluster, "brought.py:app", working_dir=str(tmp_path)) as backend:
        there = (await answer(backend, {}))["folder"]
        assert there != str(tmp_path)
        assert str(cluster.folder) in there


async def test_an_app_that_does_not_exist_is_named_and_not_tried_again(
    cluster: RayCluster,
) -> None:
    async with running_on(cluster, "/nowhere/app.py:app", ready=0) as backend:
        await until(lambda: "it is not started again" in backend._workers.detail)
        assert "no such file: /nowhere/app.py" in backend._workers.detail


# --- who may connect ----------------------------------------------------------------------------


async def test_whoever_does_not_know_the_token_is_cut_off_before_a_frame(
    cluster: RayCluster,
) -> None:
    """The worker listens at its machine's own address, and its app cannot read the token."""
    async with running_on(cluster) as backend:
        (link,) = backend._workers.connections
        transport = link.socket._transport
        assert transport is not None
        host, port = transport.get_extra_info("peername")
        assert host.startswith("127.0.0.")
        with socket.create_connection((host, port), timeout=10) as stranger:
            stranger.sendall(b"x" * 43 + b"\0\0\0\1")
            assert stranger.recv(1) == b""
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=10)
        assert (await answer(backend, {}))["env"]["SPILLGATE_TOKEN"] is None


# --- how many -----------------------------------------------------------------------------------


async def test_workers_come_with_the_load_and_go_when_it_has_gone_and_no_call_is_lost(
    cluster: RayCluster,
) -> None:
    """Twelve callers need three workers, and three of them one: they go on all the time."""
    replicas = Replicas(min=1, max=3, grow_after=0.2, shrink_after=0.5)
    async with running_on(cluster, replicas=replicas) as backend:
        rush, over = asyncio.Event(), asyncio.Event()
        callers = [asyncio.create_task(one_after_another(backend, rush)) for _ in range(9)]
        callers += [asyncio.create_task(one_after_another(backend, over)) for _ in range(3)]
        await until(lambda: links(backend) == 3)
        rush.set()
        await until(lambda: backend._workers.known == {0})
        over.set()
        assert all([await caller > 0 for caller in callers])
        assert backend._workers.deaths == 0


async def one_after_another(backend: Local, ended: asyncio.Event) -> int:
    """Calls that were answered; one that is not fails the caller."""
    count = 0
    while not ended.is_set():
        asked = f"{id(ended)}-{count}"
        assert (await answer(backend, {"sleep": 0.1, "say": asked}))["said"] == asked
        count += 1
    return count


# --- deaths -------------------------------------------------------------------------------------


def load(id: str) -> Call:
    return call({"sleep": 0.5, "say": id}, id=id)


async def test_a_machine_that_dies_under_load_loses_no_call(cluster: RayCluster) -> None:
    """Each call is answered once: by the replica on the other machine where it was lost here. A
    new machine is then used."""
    doomed = cluster.add(cpus=1, gpus=4)
    async with running_on(cluster, replicas=Replicas(min=3), cpus=0.4) as backend:
        address = f"127.0.0.{doomed}"
        assert address in nodes(backend)
        ids = [f"load-{number}" for number in range(30)]
        calls = [asyncio.create_task(backend.invoke(load(id))) for id in ids]
        await until(lambda: have_begun(backend, ids, count=3), "three calls run")
        cluster.kill(doomed)
        replies = await asyncio.gather(*calls)
        assert [json.loads(reply.body)["said"] for reply in replies] == ids
        assert backend._workers.deaths <= 1
        await until(lambda: links(backend) == 3)
        assert address not in nodes(backend)


async def test_a_stream_that_has_begun_on_a_machine_that_dies_is_truncated(
    cluster: RayCluster,
) -> None:
    doomed = cluster.add(cpus=4, gpus=4)
    async with running_on(cluster, gpus=4) as backend:
        reply = await backend.invoke(call({"to": 1000, "pause": 0.05}, "chat", stream=True))
        assert reply.chunks is not None
        await anext(reply.chunks)
        cluster.kill(doomed)
        with pytest.raises(Exception, match="in the middle"):
            async for _ in reply.chunks:
                pass


async def test_a_killed_worker_is_started_again(cluster: RayCluster) -> None:
    """Alone, it takes its calls along: there is no replica to ask."""
    async with running_on(cluster) as backend:
        before = (await answer(backend, {}))["pid"]
        waiting = asyncio.create_task(failure(backend, {"sleep": 60}))
        await until(lambda: have_begun(backend, ids_of(backend)), "the call runs")
        os.kill(before, signal.SIGKILL)
        assert (await waiting).failure is FailureClass.WORKER_DIED
        await until(lambda: links(backend) == 1)
        assert (await answer(backend, {}))["pid"] != before


def ids_of(backend: Local) -> list[str]:
    return [entry.call_id for link in backend._workers.connections for entry in link.calls.values()]


async def test_an_owner_that_is_killed_takes_its_workers_along_and_is_replaced(
    cluster: RayCluster,
) -> None:
    """Ray ends the actors of an owner that died."""
    async with running_on(cluster) as backend:
        before = (await answer(backend, {}))["pid"]
        (owner,) = owners(os.getpid())
        os.kill(owner, signal.SIGKILL)
        await until(lambda: not alive(before))
        await until(lambda: links(backend) == 0)
        await until(lambda: links(backend) == 1)
        assert (await answer(backend, {}))["pid"] != before


def owners(parent: int) -> list[int]:
    return [
        pid
        for entry in Path("/proc").iterdir()
        if (pid := int(entry.name) if entry.name.isdigit() else 0)
        and parent_of(pid) == parent
        and "local_runtime.ray" in command_of(pid)
        and alive(pid)
    ]


GATEWAY = """
import asyncio, json, sys
from tests.adapters.local.ray_clusters import *
from tests.adapters.local.backends import answer

class There:
    address = sys.argv[1]

async def main():
    async with running_on(There(), replicas=Replicas(min=2)) as backend:
        found = set()
        while len(found) < 2:
            calls = [answer(backend, {"sleep": 0.1}) for _ in range(8)]
            found |= {one["pid"] for one in await asyncio.gather(*calls)}
        print(json.dumps(sorted(found)), flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


async def test_nothing_outlives_a_gateway_that_is_killed(cluster: RayCluster) -> None:
    command = [sys.executable, "-c", GATEWAY, cluster.address]
    gateway = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
    try:
        assert gateway.stdout is not None
        mine: list[int] = json.loads(await asyncio.to_thread(gateway.stdout.readline))
        mine += [parent_of(pid) for pid in mine]  # the actors
        mine += owners(gateway.pid)
        assert len([pid for pid in mine if alive(pid)]) == 5
    finally:
        gateway.kill()
        gateway.communicate()
    await until(lambda: not any(alive(pid) for pid in mine))


# --- no cluster, no Ray -------------------------------------------------------------------------


async def test_closing_while_there_is_no_cluster_ends_the_attempt() -> None:
    """An address where nobody answers."""

    class Nowhere:
        address = "127.0.0.9:1"

    async with running_on(Nowhere(), ready=0):  # type: ignore[arg-type]
        await until(lambda: len(owners(os.getpid())) == 1)
    assert owners(os.getpid()) == []


def test_without_ray_the_backend_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "ray.py").write_text("raise ImportError('No module named ray')\n")
    done = subprocess.run(
        [sys.executable, "-m", "local_runtime.ray", "app.py:app"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"},
        input=b"",
        capture_output=True,
        timeout=30,
    )
    (payload,) = FrameReader().feed(done.stdout)
    said = decode_from_supervisor(payload)
    assert isinstance(said, WorkerChanged)
    assert "pip install 'spillgate[ray]'" in said.detail
    assert msgspec.structs.replace(said, detail="") == WorkerChanged(0, "defunct")
