"""Functions of ``kind: modal``: Modal's own SDK against a platform on its own base class."""

from __future__ import annotations

import asyncio
import hashlib
import os
import pickle
import subprocess
import sys
import threading
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from grpclib import GRPCError, Status
from modal_proto import api_pb2
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from adapters.errors import BackendError, FailureClass
from adapters.modal import Modal
from adapters.modal_functions import ModalFunctions
from adapters.modal_sdk import VERSIONS, Uninstalled, check_version
from adapters.modal_settings import ModalSettings
from adapters.settings import Secret
from adapters.types import Call
from gateway.clock import FakeClock, SystemClock
from tests.adapters.modal_platform import CBOR, PICKLE, ModalPlatform, modal_running
from tests.adapters.modal_stage import pieces, serve
from tests.adapters.scenarios import until
from tests.adapters.served import served

ROOT = Path(__file__).parents[2]
TOKEN = ("ak-1", "as-secret")
LOST = (Status.UNAVAILABLE, Status.INTERNAL, Status.UNKNOWN)


class Touch:
    """Makes a file when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (Path(self.path),)


def raises(body: dict[str, Any]) -> Any:
    raise {
        "cancelled": asyncio.CancelledError,
        "exit": SystemExit,
        "iteration": StopAsyncIteration,
        "key": KeyError,
        "timeout": TimeoutError,
        "value": ValueError,
    }[body["kind"]]("the model said so")


def touches(body: dict[str, Any]) -> Any:
    return {"harm": Touch(body["path"])}


def keywords(*, a: int, b: int) -> int:
    return a + b


def length(body: bytes) -> int:
    return len(body)


def encoded(body: dict[str, Any]) -> bytes:
    return b'{"as": "I wrote it"}'


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "serve": serve,
    "pieces": pieces,
    "raises": raises,
    "touches": touches,
    "keywords": keywords,
    "length": length,
    "encoded": encoded,
    "Model.run": serve,
    "Model.pieces": pieces,
}


@pytest.fixture
def platform() -> Iterator[ModalPlatform]:
    with modal_running(FUNCTIONS, TOKEN) as running:
        yield running


def settings_for(platform: ModalPlatform, **more: Any) -> ModalSettings:
    usual: dict[str, Any] = {
        "app": "app",
        "function": "serve",
        "stream": "pieces",
        "token_id": Secret(TOKEN[0]),
        "token_secret": Secret(TOKEN[1]),
        "server_url": platform.url,
    }
    return ModalSettings(**{**usual, **more})


def backend_for(platform: ModalPlatform, **more: Any) -> Modal:
    return Modal("m", settings_for(platform, **more), SystemClock())


def call(body: str, *, stream: bool = False, call_id: str = "c1") -> Call:
    return Call(id=call_id, model="m", task="infer", body=body.encode(), stream=stream)


async def failing(backend: Modal, asked: Call) -> BackendError:
    with pytest.raises(BackendError) as caught:
        await backend.invoke(asked)
    return caught.value


async def pieces_of(chunks: AsyncIterator[Any]) -> list[bytes]:
    return [chunk.data async for chunk in chunks]


# --- the platform's pitfalls --------------------------------------------------------------------


async def test_pitfall_36_a_cancelled_task_leaves_the_call_running_until_cancel_tells_the_platform(
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


async def test_pitfall_36_a_call_that_is_left_while_it_is_submitted_is_cancelled_once_it_has_a_name(
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


async def test_pitfall_36_a_stream_that_is_left_is_cancelled_by_its_call(
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


async def test_pitfall_37_a_wait_that_ends_is_begun_again_and_a_result_that_expired_is_a_failure(
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
async def test_pitfall_38_a_remote_exception_is_the_models_failure_whatever_its_type(
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


async def test_pitfall_39_arguments_go_as_data_so_that_results_come_as_data(
    platform: ModalPlatform,
) -> None:
    backend = backend_for(platform)
    await backend.invoke(call('{"echo": 1}'))
    assert platform.submits[0].pipelined_inputs[0].input.data_format == CBOR
    await backend.aclose()


async def test_pitfall_39_a_pickled_result_runs_nothing_in_the_gateway(
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


async def test_pitfall_40_the_autoscaler_is_told_by_the_new_name_and_again_after_a_while(
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


async def test_pitfall_41_a_large_input_is_uploaded_first_and_a_small_one_is_not(
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


def test_pitfall_42_the_pinned_sdk_is_of_the_minor_version_that_this_was_written_for() -> None:
    pins = (ROOT / "constraints.txt").read_text().splitlines()
    assert any(line.startswith(f"modal=={VERSIONS}") for line in pins)
    check_version(f"{VERSIONS}99")
    with pytest.raises(Uninstalled, match="another protocol"):
        check_version("1.7.0")


@pytest.mark.parametrize("status", LOST, ids=lambda status: status.name)
async def test_pitfall_45_what_the_sdk_has_tried_four_times_is_ambiguous_and_not_tried_again(
    status: Status, platform: ModalPlatform
) -> None:
    backend = backend_for(platform)
    await backend.probe()
    platform.fail("FunctionMap", *[GRPCError(status, "down")] * 5)
    error = await failing(backend, call("{}"))
    assert error.failure is FailureClass.AMBIGUOUS
    assert platform.count("FunctionMap") == 4
    await backend.aclose()


async def test_pitfall_45_a_call_whose_result_cannot_be_asked_for_is_ambiguous(
    platform: ModalPlatform,
) -> None:
    backend = backend_for(platform)
    platform.fail("FunctionGetOutputs", *[GRPCError(Status.UNAVAILABLE, "down")] * 4)
    error = await failing(backend, call("{}"))
    assert error.failure is FailureClass.AMBIGUOUS
    assert error.usage is None
    assert platform.count("FunctionMap") == 1
    await backend.aclose()


async def test_pitfall_11_an_answer_states_no_times_of_the_platform(
    platform: ModalPlatform,
) -> None:
    backend = backend_for(platform)
    reply = await backend.invoke(call('{"sleep": 0.2}'))
    assert not reply.usage.reported
    assert reply.usage.cold_s is None
    assert reply.usage.exec_s is not None
    assert reply.usage.exec_s >= 0.2
    await backend.aclose()


# --- refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "failure"),
    [
        (Status.RESOURCE_EXHAUSTED, FailureClass.OVERLOADED),
        (Status.PERMISSION_DENIED, FailureClass.CREDENTIAL),
        (Status.FAILED_PRECONDITION, FailureClass.GONE),
        (Status.INVALID_ARGUMENT, FailureClass.UNSUPPORTED),
    ],
    ids=lambda value: value.name,
)
async def test_a_refused_submit_was_sent_once_and_another_backend_may_be_asked(
    status: Status, failure: FailureClass, platform: ModalPlatform
) -> None:
    backend = backend_for(platform)
    platform.fail("FunctionMap", GRPCError(status, "no"))
    error = await failing(backend, call("{}"))
    assert error.failure is failure
    assert error.failure.try_next
    assert platform.count("FunctionMap") == 1
    await backend.aclose()


async def test_a_platform_without_room_says_for_how_long_and_is_not_waited_for(
    platform: ModalPlatform,
) -> None:
    backend = backend_for(platform)
    later = api_pb2.RPCRetryPolicy(retry_after_secs=30.0)
    platform.fail("FunctionMap", GRPCError(Status.RESOURCE_EXHAUSTED, "full", [later]))
    error = await failing(backend, call("{}"))
    assert error.failure is FailureClass.OVERLOADED
    assert error.retry_after == 30.0
    await backend.aclose()


async def test_polls_that_are_throttled_cost_no_call(platform: ModalPlatform) -> None:
    backend = backend_for(platform)
    soon = api_pb2.RPCRetryPolicy(retry_after_secs=0.1)
    throttled = GRPCError(Status.RESOURCE_EXHAUSTED, "slowly", [soon])
    platform.fail("FunctionGetOutputs", throttled, throttled)
    assert (await backend.invoke(call('{"echo": 1}'))).body == b"1"
    assert platform.count("FunctionMap") == 1
    await backend.aclose()


async def test_a_function_that_a_deploy_replaced_is_looked_up_again(
    platform: ModalPlatform,
) -> None:
    backend = backend_for(platform)
    await backend.probe()
    platform.fail("FunctionMap", GRPCError(Status.NOT_FOUND, "stopped"))
    assert (await backend.invoke(call('{"echo": 1}'))).body == b"1"
    assert platform.count("FunctionGet") == 2
    await backend.aclose()


async def test_a_platform_that_is_not_there_took_nothing(platform: ModalPlatform) -> None:
    backend = backend_for(platform, server_url="http://127.0.0.1:9", connect_timeout=0.5)
    probe = await backend.probe()
    assert not probe.ready
    error = await failing(backend, call("{}"))
    assert error.failure is FailureClass.UNREACHABLE
    await backend.aclose()


async def test_a_backend_that_could_not_connect_does_once_the_platform_is_there() -> None:
    platform = ModalPlatform(FUNCTIONS, TOKEN)
    backend = backend_for(platform, connect_timeout=0.5)
    assert not (await backend.probe()).ready
    with modal_running(FUNCTIONS, TOKEN, platform):
        assert (await backend.invoke(call('{"echo": 1}'))).body == b"1"
        await backend.aclose()


async def test_a_plain_function_that_is_asked_to_stream_is_not_run(platform: ModalPlatform) -> None:
    backend = backend_for(platform, stream="serve")
    error = await failing(backend, call("{}", stream=True))
    assert error.failure is FailureClass.UNSUPPORTED
    assert platform.submits == []
    await backend.aclose()


async def test_without_a_generator_nothing_is_streamed(platform: ModalPlatform) -> None:
    backend = backend_for(platform, stream=None)
    assert not backend.capabilities.streaming
    error = await failing(backend, call("{}", stream=True))
    assert error.failure is FailureClass.UNSUPPORTED
    await backend.aclose()


# --- the calling convention ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "arguments", "answer"),
    [
        ("keywords", "keywords", b"5"),
        ("length", "bytes", b"15"),
        ("encoded", "body", b'{"as": "I wrote it"}'),
    ],
)
async def test_a_function_gets_its_arguments_as_the_policy_says(
    function: str, arguments: str, answer: bytes, platform: ModalPlatform
) -> None:
    backend = backend_for(platform, function=function, arguments=arguments)
    assert (await backend.invoke(call('{"a": 2, "b":3}'))).body == answer
    await backend.aclose()


async def test_a_body_that_is_no_object_is_refused_and_not_sent(platform: ModalPlatform) -> None:
    backend = backend_for(platform)
    error = await failing(backend, call("[1]"))
    assert error.failure is FailureClass.INVALID
    assert platform.submits == []
    await backend.aclose()


async def test_a_method_of_a_class_is_constructed_with_the_parameters_of_the_policy(
    platform: ModalPlatform,
) -> None:
    backend = backend_for(
        platform,
        function=None,
        cls="Model",
        method="run",
        stream="pieces",
        parameters={"size": "large"},
    )
    assert (await backend.invoke(call('{"echo": "hello"}'))).body == b'"hello"'
    reply = await backend.invoke(call('{"pieces": [1, 2]}', stream=True))
    assert reply.chunks is not None
    assert b"".join(await pieces_of(reply.chunks)) == b"data: 1\n\ndata: 2\n\n"
    assert platform.bound == [((), {"size": "large"})]
    assert (await backend.probe()).ready
    await backend.aclose()


# --- streams, pings, and the environment --------------------------------------------------------


async def test_a_stream_that_breaks_after_it_began_is_truncated_and_its_time_is_charged(
    platform: ModalPlatform,
) -> None:
    seen = threading.Event()

    def breaks(body: dict[str, Any]) -> Iterator[int]:
        yield 1
        seen.wait(20)
        raise ValueError("boo")

    platform.functions = {**FUNCTIONS, "breaks": breaks}
    backend = backend_for(platform, stream="breaks")
    reply = await backend.invoke(call("{}", stream=True))
    seen.set()
    assert reply.chunks is not None
    with pytest.raises(BackendError) as caught:
        await pieces_of(reply.chunks)
    assert caught.value.failure is FailureClass.TRUNCATED
    assert caught.value.usage is not None
    assert caught.value.usage.exec_s is not None
    await backend.aclose()


async def test_a_stream_that_falls_silent_is_given_up(platform: ModalPlatform) -> None:
    backend = backend_for(platform, stall_timeout=0.3)
    reply = await backend.invoke(call('{"pieces": [1], "hold": true}', stream=True))
    assert reply.chunks is not None
    with pytest.raises(BackendError) as caught:
        await pieces_of(reply.chunks)
    assert caught.value.failure is FailureClass.TRUNCATED
    await backend.cancel("c1")
    assert platform.running == 0
    await backend.aclose()


async def test_a_ping_is_one_call_and_one_that_fails_has_woken_its_container(
    platform: ModalPlatform,
) -> None:
    backend = backend_for(platform, function="raises")
    assert (await backend.ping()).exec_s is not None
    assert platform.count("FunctionMap") == 1
    await backend.aclose()


async def test_nothing_warm_is_told_by_the_probe(platform: ModalPlatform) -> None:
    platform.stats = {"backlog": 3, "num_total_tasks": 0}
    backend = backend_for(platform)
    probe = await backend.probe()
    assert (probe.ready, probe.warm_workers, probe.queued) == (False, 0, 3)
    await backend.aclose()


async def test_a_call_that_found_no_container_up_tells_its_start_from_its_run(
    platform: ModalPlatform,
) -> None:
    backend = backend_for(platform)
    await backend.probe()
    warm = await backend.invoke(call('{"echo": 1}'))
    assert not warm.usage.cold_s
    platform.stats = {"backlog": 0, "num_total_tasks": 0}
    await backend.probe()
    cold = await backend.invoke(call('{"sleep": 0.5}'))
    assert cold.usage.cold_s is not None
    assert cold.usage.exec_s is not None
    assert cold.usage.cold_s + cold.usage.exec_s >= 0.5
    assert not cold.usage.reported
    await backend.aclose()


async def test_the_token_goes_to_the_client_alone(
    platform: ModalPlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without ``server_url`` the SDK says itself where Modal is."""
    monkeypatch.setenv("MODAL_SERVER_URL", platform.url)
    monkeypatch.setenv("MODAL_TOKEN_ID", "of somebody else")
    backend = backend_for(platform, server_url=None)
    assert (await backend.invoke(call('{"echo": 1}'))).body == b"1"
    assert TOKEN[1] not in os.environ.values()
    await backend.aclose()


def test_the_sdk_is_not_imported_before_a_call_needs_it() -> None:
    program = """
import asyncio, sys
from adapters.modal import Modal
from adapters.modal_settings import ModalSettings
from adapters.settings import Secret
from gateway.clock import SystemClock

token = Secret("a")
settings = ModalSettings(app="a", function="f", token_id=token, token_secret=token)

async def life():
    backend = Modal("m", settings, SystemClock())
    await backend.start()
    await backend.aclose()

asyncio.run(life())
sys.exit("modal" in sys.modules or "grpclib" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, timeout=60)
    assert done.returncode == 0


# --- settings -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "wrong"),
    [
        ({}, "give one of url, function and cls"),
        ({"url": "https://a.modal.run", "function": "f"}, "give one of"),
        ({"function": "f"}, "app is missing"),
        ({"app": "a", "function": "f"}, "token_id and token_secret"),
        ({"app": "a", "cls": "C", "token_id": "k", "token_secret": "s"}, "cls and method"),
        ({"url": "https://a.modal.run", "proxy_key": "k"}, "go together"),
        ({"url": "https://a.modal.run", "min_containers": 1}, "scaled by a backend"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, Any], wrong: str) -> None:
    secret = {"token_id", "token_secret", "proxy_key"}
    given: dict[str, Any] = {
        key: Secret(value) if key in secret else value for key, value in settings.items()
    }
    with pytest.raises(ValueError, match=wrong):
        ModalSettings(**given)
