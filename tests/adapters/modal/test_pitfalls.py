"""What Modal's SDK and platform do that an adapter must get right, one test a pitfall."""

from __future__ import annotations

import asyncio
import hashlib
import pickle
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from grpclib import GRPCError, Status
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from adapters.errors import BackendError, FailureClass
from adapters.modal.backend import Modal
from adapters.modal.connection import ModalSession, Submitted
from adapters.modal.functions import ModalFunctions
from adapters.modal.sdk import VERSIONS, Uninstalled, check_version
from adapters.modal.settings import ModalSettings
from adapters.modal.values import Arguments
from gateway.clock import FakeClock, SystemClock, settle
from tests.adapters.modal.backends import (
    FUNCTIONS,
    TOKEN,
    Touch,
    backend_for,
    call,
    failing,
    settings_for,
)
from tests.adapters.modal.platform import CBOR, PICKLE, ModalPlatform, modal_running
from tests.adapters.scenarios import until
from tests.adapters.served import served

ROOT = Path(__file__).parents[3]
LOST = (Status.UNAVAILABLE, Status.INTERNAL, Status.UNKNOWN)


@pytest.fixture
def platform() -> Iterator[ModalPlatform]:
    with modal_running(FUNCTIONS, TOKEN) as running:
        yield running


async def test_a_cancelled_task_leaves_the_call_running_until_cancel_tells_the_platform(
    platform: ModalPlatform,
) -> None:
    backend = backend_for(platform)
    task = asyncio.ensure_future(backend.invoke(call('{"sleep": 60}')))
    await until(lambda: platform.running == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert platform.running == 1
    assert platform.count("FunctionCallCancel") == 0
    await backend.cancel("c1")
    assert platform.running == 0
    assert platform.count("FunctionCallCancel") == 1
    await backend.aclose()


async def test_a_call_that_is_left_while_it_is_submitted_is_cancelled_once_it_has_a_name(
    platform: ModalPlatform,
) -> None:
    backend = backend_for(platform)
    gate = platform.gates["FunctionMap"] = threading.Event()
    task = asyncio.ensure_future(backend.invoke(call('{"sleep": 60}')))
    await until(lambda: platform.count("FunctionMap") == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    stopping = asyncio.ensure_future(backend.cancel("c1"))
    gate.set()
    await stopping
    assert platform.count("FunctionCallCancel") == 1
    assert platform.running == 0
    await backend.aclose()


@pytest.mark.parametrize("left", [False, True])
async def test_a_call_whose_submit_is_on_its_way_is_cancelled_when_its_backend_is_closed(
    left: bool, platform: ModalPlatform
) -> None:
    """Whether its caller still waits or has left: nobody else could name it, and Modal would run it
    to the function's own time-out."""
    backend = backend_for(platform)
    gate = platform.gates["FunctionMap"] = threading.Event()
    task = asyncio.ensure_future(backend.invoke(call('{"sleep": 60}')))
    await until(lambda: platform.count("FunctionMap") == 1)
    if left:
        task.cancel()
        await asyncio.wait([task])
    closing = asyncio.ensure_future(backend.aclose())
    await settle()
    gate.set()
    await closing
    await asyncio.gather(task, return_exceptions=True)
    assert platform.count("FunctionCallCancel") == 1
    assert platform.running == 0


class Remote:
    """A call that goes on for ever, and counts what cancels it."""

    def __init__(self) -> None:
        self.cancelled = 0
        self.get = self.cancel = self

    async def aio(self, timeout: float | None = None) -> None:
        if timeout is None:
            self.cancelled += 1
        else:
            await asyncio.get_running_loop().create_future()


class AnsweredByHand(ModalSession):
    """A link whose one submit is answered when the test says so."""

    def __init__(self, settings: ModalSettings) -> None:
        super().__init__(settings, SystemClock())
        self.remote = Remote()
        self.answered = asyncio.Event()

    def submit(self, name: str, args: Arguments, *, streamed: bool) -> asyncio.Task[Submitted]:
        async def answer() -> Submitted:
            await self.answered.wait()
            return Submitted(self.remote)

        return self.keep(answer())


@pytest.mark.parametrize("turns", range(8))
async def test_a_call_that_is_left_as_its_submits_answer_comes_is_cancelled(
    turns: int, platform: ModalPlatform
) -> None:
    settings, clock = settings_for(platform), SystemClock()
    link = AnsweredByHand(settings)
    functions = ModalFunctions(settings, clock, session=link)
    task = asyncio.ensure_future(functions.invoke(call("{}"), clock.monotonic() + 20))
    await settle()
    link.answered.set()
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await functions.cancel("c1")
    assert link.remote.cancelled == 1
    await functions.aclose()


async def test_a_stream_that_is_left_is_cancelled_by_its_call(
    platform: ModalPlatform,
) -> None:
    backend = backend_for(platform)
    reply = await backend.invoke(call('{"pieces": [1], "hold": true}', stream=True))
    assert reply.chunks is not None
    assert (await anext(reply.chunks)).data == b"data: 1\n\n"
    await reply.chunks.aclose()  # type: ignore[attr-defined]
    assert platform.running == 1
    await backend.cancel("c1")
    assert platform.running == 0
    assert "0 active" in repr(backend)
    await backend.aclose()


async def test_a_wait_that_ends_is_begun_again_and_a_result_that_expired_is_a_failure(
    platform: ModalPlatform,
) -> None:
    clock = SystemClock()
    functions = ModalFunctions(settings_for(platform), clock, wait_s=0.1)
    reply = await functions.invoke(call('{"sleep": 0.5, "echo": 1}'), clock.monotonic() + 20)
    assert reply.body == b"1"
    assert platform.count("FunctionGetOutputs") > 2
    task = asyncio.ensure_future(functions.invoke(call('{"sleep": 60}'), clock.monotonic() + 20))
    await until(lambda: platform.running == 1)
    platform.calls["fc-1"].forgotten = True
    with pytest.raises(BackendError, match="no longer has the call's result") as caught:
        await task
    assert caught.value.failure is FailureClass.FAILED
    await functions.aclose()


@pytest.mark.parametrize("formats", [[PICKLE], [PICKLE, CBOR]], ids=["pickle", "cbor"])
@pytest.mark.parametrize("kind", ["value", "key", "timeout", "iteration", "cancelled", "exit"])
async def test_a_remote_exception_is_the_models_failure_whatever_its_type(
    kind: str, formats: list[Any], platform: ModalPlatform
) -> None:
    platform.formats = formats
    backend = backend_for(platform, function="raises")
    error = await failing(backend, call(f'{{"kind": "{kind}"}}'))
    assert error.failure is FailureClass.FAILED
    assert "the model said so" in error.message
    assert error.usage is not None
    assert error.usage.exec_s is not None
    assert platform.count("FunctionMap") == 1
    await backend.aclose()


async def test_arguments_go_as_data_so_that_results_come_as_data(
    platform: ModalPlatform,
) -> None:
    backend = backend_for(platform)
    await backend.invoke(call('{"echo": 1}'))
    assert platform.submits[0].pipelined_inputs[0].input.data_format == CBOR
    await backend.aclose()


async def test_a_pickled_result_runs_nothing_in_the_gateway(
    platform: ModalPlatform, tmp_path: Path
) -> None:
    platform.formats = [PICKLE]
    made = tmp_path / "made"
    pickle.loads(pickle.dumps(Touch(str(made))))
    assert made.exists()
    made.unlink()
    backend = backend_for(platform, function="touches")
    error = await failing(backend, call(f'{{"path": "{made}"}}'))
    assert error.failure is FailureClass.FAILED
    assert "no JSON" in error.message
    assert not made.exists()
    await backend.aclose()


async def test_the_autoscaler_is_told_by_the_new_name_and_again_after_a_while(
    platform: ModalPlatform,
) -> None:
    clock = FakeClock()
    settings = settings_for(platform, max_containers=5, scaledown_window=300.0)
    backend = Modal("m", settings, clock)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert (await backend.probe()).ready
        await backend.probe()
        assert platform.scaling == [{"max_containers": 5, "scaledown_window": 300}]
        await backend.keep_workers(2)
        assert platform.scaling[-1]["min_containers"] == 2
        clock.move(601)
        await backend.probe()
    assert len(platform.scaling) == 3
    assert platform.scaling[-1] == {
        "min_containers": 2,
        "max_containers": 5,
        "scaledown_window": 300,
    }
    await backend.aclose()


async def test_a_large_input_is_uploaded_first_and_a_small_one_is_not(
    platform: ModalPlatform,
) -> None:
    async def put(request: Request) -> Response:
        data = platform.blobs[request.path_params["blob"]] = await request.body()
        md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
        return Response(headers={"ETag": f'"{md5}"'})

    backend = backend_for(platform)
    with served(Starlette(routes=[Route("/{blob}", put, methods=["PUT"])])) as url:
        platform.upload_url = url
        await backend.invoke(call('{"echo": "%s"}' % ("x" * 7000)))
        assert platform.count("BlobCreate") == 0
        reply = await backend.invoke(call('{"echo": "%s"}' % ("x" * 9000)))
        assert platform.count("BlobCreate") == 1
        assert len(reply.body) == 9002
    await backend.aclose()


def test_the_pinned_sdk_is_of_the_minor_version_that_this_was_written_for() -> None:
    pins = (ROOT / "constraints.txt").read_text().splitlines()
    assert any(line.startswith(f"modal=={VERSIONS}") for line in pins)
    check_version(f"{VERSIONS}99")
    with pytest.raises(Uninstalled, match="another protocol"):
        check_version("1.7.0")


@pytest.mark.parametrize("status", LOST, ids=lambda status: status.name)
async def test_what_the_sdk_has_tried_four_times_is_ambiguous_and_not_tried_again(
    status: Status, platform: ModalPlatform
) -> None:
    backend = backend_for(platform)
    await backend.probe()
    platform.fail("FunctionMap", *[GRPCError(status, "down")] * 5)
    error = await failing(backend, call("{}"))
    assert error.failure is FailureClass.AMBIGUOUS
    assert platform.count("FunctionMap") == 4
    await backend.aclose()


async def test_a_call_whose_result_cannot_be_asked_for_is_ambiguous(
    platform: ModalPlatform,
) -> None:
    backend = backend_for(platform)
    platform.fail("FunctionGetOutputs", *[GRPCError(Status.UNAVAILABLE, "down")] * 4)
    error = await failing(backend, call("{}"))
    assert error.failure is FailureClass.AMBIGUOUS
    assert error.usage is None
    assert platform.count("FunctionMap") == 1
    await backend.aclose()


async def test_an_answer_states_no_times_of_the_platform(
    platform: ModalPlatform,
) -> None:
    backend = backend_for(platform)
    reply = await backend.invoke(call('{"sleep": 0.2}'))
    assert not reply.usage.reported
    assert reply.usage.cold_s is None
    assert reply.usage.exec_s is not None
    assert reply.usage.exec_s >= 0.2
    await backend.aclose()
