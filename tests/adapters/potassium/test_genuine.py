"""Potassium 0.5.0 itself behind ``kind: potassium``: a test for each of its pitfalls."""

from __future__ import annotations

import asyncio
import contextlib
import json
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import banana_dev
import pytest

from adapters.errors import BackendError, FailureClass
from adapters.potassium.api import PotassiumSettings
from adapters.potassium.backend import PotassiumBackend
from adapters.settings import Secret
from adapters.types import Call
from gateway.clock import SystemClock
from tests.adapters.potassium.servers import PotassiumServer, genuine_server
from tests.adapters.scenarios import until
from tests.adapters.test_contract import whole
from tests.waiting import until as waiting_until


@pytest.fixture(scope="module")
def genuine() -> Iterator[PotassiumServer]:
    with genuine_server() as server:
        yield server


@contextlib.asynccontextmanager
async def opened(server: PotassiumServer, **settings: Any) -> AsyncIterator[PotassiumBackend]:
    given = {"base_url": server.url, "api_key": Secret("a-key"), **settings}
    backend = PotassiumBackend("potassium", PotassiumSettings(**given), SystemClock())
    await backend.start()
    try:
        yield backend
    finally:
        await backend.aclose()


def a_call(id: str = "c1", *, stream: bool = False, **body: Any) -> Call:
    return Call(id=id, model="m", task="infer", body=json.dumps(body).encode(), stream=stream)


def status(server: PotassiumServer) -> dict[str, Any]:
    with urllib.request.urlopen(server.url + "/_k/status", timeout=5) as response:
        found: dict[str, Any] = json.load(response)
    return found


async def test_a_call_reaches_the_handler_with_its_id_and_key(genuine: PotassiumServer) -> None:
    """As Banana's own client sends them."""
    async with opened(genuine) as backend:
        reply = await backend.invoke(a_call("call-7", who=True))
    assert json.loads(reply.body) == {"id": "call-7", "key": "a-key"}
    client = banana_dev.Client(api_key="a-key", url=genuine.url, verbosity="")
    answered, meta = await asyncio.to_thread(client.call, "/", {"who": True}, {})
    assert answered.keys() == json.loads(reply.body).keys()
    assert answered["key"] == "a-key"
    assert meta


async def test_a_refused_connection_is_a_cold_start_that_a_call_can_wait_for() -> None:
    with genuine_server(held=True) as server:
        async with opened(server) as hasty, opened(server, start_wait=30.0) as patient:
            with pytest.raises(BackendError) as caught:
                await hasty.invoke(a_call(echo=1))
            assert caught.value.failure is FailureClass.LOADING
            assert not (await patient.probe()).ready
            waiting = asyncio.ensure_future(patient.invoke(a_call(echo=2)))
            server.release_init()
            reply = await waiting
            assert json.loads(reply.body) == {"echo": 2}
            assert reply.usage.cold_s
            await waiting_until(lambda: is_ready(patient), "its worker is free again")


async def is_ready(backend: PotassiumBackend) -> bool:
    return (await backend.probe()).ready


async def test_calls_past_the_worker_wait_in_order_and_none_is_refused(
    genuine: PotassiumServer,
) -> None:
    order: list[int] = []
    before = status(genuine)["sequence_number"]

    async def ask(backend: PotassiumBackend, number: int) -> None:
        reply = await backend.invoke(a_call(f"fifo-{number}", sleep=0.2, echo=number))
        assert json.loads(reply.body)["echo"] == number
        order.append(number)

    async with opened(genuine) as backend:
        tasks = []
        for number in range(3):
            tasks.append(asyncio.ensure_future(ask(backend, number)))
            await until(lambda: status(genuine)["sequence_number"] == before + len(tasks))
        busy = await backend.probe()
        await asyncio.gather(*tasks)
    assert order == [0, 1, 2]
    assert (busy.ready, busy.detail) == (True, "every worker is busy")


async def test_a_background_call_has_no_name_and_is_answered_at_once(
    genuine: PotassiumServer, tmp_path: Path
) -> None:
    note = tmp_path / "note"
    async with opened(genuine, routes={"infer": "/background"}, background=True) as backend:
        reply = await backend.invoke(a_call("call-8", note=str(note)))
        assert json.loads(reply.body) == {"started": True}
        await until(lambda: note.exists() and note.read_text() == "call-8")


async def test_a_traceback_is_not_the_callers(genuine: PotassiumServer) -> None:
    async with opened(genuine) as backend:
        with pytest.raises(BackendError) as caught:
            await backend.invoke(a_call(fail="a secret of the model"))
    assert caught.value.failure is FailureClass.FAILED
    assert "secret" not in caught.value.message


async def test_text_flows_as_it_is_made(genuine: PotassiumServer) -> None:
    async with opened(genuine, routes={"infer": "/stream"}) as backend:
        data = await whole(await backend.invoke(a_call(stream=True, pieces=3)))
    pieces = [json.loads(event[6:]) for event in data.strip().split(b"\n\n")]
    assert "".join(pieces) == "0 é 1 é 2 é "
    assert len(pieces) > 1


async def test_a_warm_up_counts_as_a_request_so_the_count_is_not_believed(
    genuine: PotassiumServer,
) -> None:
    before = status(genuine)["sequence_number"]
    async with opened(genuine) as backend:
        usage = await backend.ping()
        await until(lambda: status(genuine)["sequence_number"] == before + 1)
        probe = await backend.probe()
    assert usage.exec_s is not None
    assert probe.ready
    assert probe.queued is None


async def test_a_generator_that_raises_hangs_and_the_lost_worker_is_seen() -> None:
    """On a server of its own, for it is of no use afterwards."""
    with genuine_server() as server:
        settings = {"routes": {"infer": "/stream"}, "stall_timeout": 0.5, "stuck_after": 0.5}
        async with opened(server, **settings) as backend:
            reply = await backend.invoke(a_call(stream=True, pieces=1, fail="boo"))
            with pytest.raises(BackendError) as caught:
                await whole(reply)
            assert caught.value.failure is FailureClass.TIMEOUT
            await until(lambda: status(server)["inference_time"] > 500)
            probe = await backend.probe()
            assert not probe.ready
            assert "worker is lost" in probe.detail


async def test_a_caller_that_leaves_frees_nothing_and_nothing_stays_behind(
    genuine: PotassiumServer,
) -> None:
    """The handler runs to its end; the worker is free again afterwards."""
    async with opened(genuine) as backend:
        task = asyncio.ensure_future(backend.invoke(a_call("left", sleep=0.5)))
        await until(lambda: genuine.running() == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await backend.cancel("left")
        await until(lambda: status(genuine)["gpu_available"])
        assert json.loads((await backend.invoke(a_call(echo=3))).body) == {"echo": 3}
