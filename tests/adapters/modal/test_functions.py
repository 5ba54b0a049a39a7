"""Functions of ``kind: modal``: Modal's own SDK against a platform on its own base class."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from grpclib import GRPCError, Status
from modal_proto import api_pb2

from adapters.errors import BackendError, FailureClass, Ran
from adapters.modal.settings import ModalSettings
from adapters.settings import Secret
from tests.adapters.modal.backends import (
    FUNCTIONS,
    TOKEN,
    backend_for,
    call,
    failing,
    pieces_of,
)
from tests.adapters.modal.platform import ModalPlatform, modal_running

ROOT = Path(__file__).parents[3]


@pytest.fixture
def platform() -> Iterator[ModalPlatform]:
    with modal_running(FUNCTIONS, TOKEN) as running:
        yield running


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
    assert error.ran is Ran.NO
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


@pytest.mark.parametrize("body", ["[1]", "{", '{"a":' + "[" * 100_000], ids=["list", "cut", "deep"])
async def test_a_body_that_is_no_object_is_refused_and_not_sent(
    body: str, platform: ModalPlatform
) -> None:
    backend = backend_for(platform)
    error = await failing(backend, call(body))
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


async def test_what_is_assumed_of_functions_is_put_to_the_test(platform: ModalPlatform) -> None:
    """By what runs nothing: the key, and that both functions are deployed."""
    platform.stats = {"backlog": 3, "num_total_tasks": 0}
    away = {"server_url": "http://127.0.0.1:9", "connect_timeout": 0.5}
    settings: list[dict[str, Any]] = [{}, {"stream": "nobody"}, {"token_id": Secret("no")}, away]
    found = []
    for given in settings:
        backend = backend_for(platform, **given)
        found.append([one.holds for one in await backend.assumptions()])
        await backend.aclose()
    assert found == [[True, True], [True, False], [False, False], [None, None]]
    assert not platform.calls


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
from adapters.modal.backend import Modal
from adapters.modal.settings import ModalSettings
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


@pytest.mark.parametrize(
    ("stats", "waits"),
    [
        ({"backlog": 1, "num_total_tasks": 0}, True),
        ({"backlog": 1, "num_total_tasks": 1}, False),
        ({"backlog": 0, "num_total_tasks": 0}, False),
    ],
)
async def test_a_call_whose_time_is_up_waits_where_no_container_can_have_had_it(
    stats: dict[str, int], waits: bool, platform: ModalPlatform
) -> None:
    platform.stats = stats
    backend = backend_for(platform, timeout=0.3)
    asked = call('{"sleep": 30}')
    error = await failing(backend, asked)
    assert error.failure is FailureClass.TIMEOUT
    assert (asked.progress.queued_until > 0) is waits
    await backend.cancel(asked.id)
    await backend.aclose()
