"""A dedicated model on Baseten: what its answers make the adapter do."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from adapters.baseten.api import BasetenSettings
from adapters.baseten.backend import Baseten
from adapters.errors import BackendError, FailureClass
from adapters.settings import Secret
from adapters.types import Call, Task
from gateway.clock import FakeClock, SystemClock
from tests.adapters.baseten.platform import Model
from tests.adapters.baseten.stage import model_running, settings_for
from tests.adapters.scenarios import KEY, until
from tests.adapters.served import served
from tests.adapters.servers import Scripted, answer, drive, scripted
from tests.adapters.test_contract import whole

HOOK = "https://hooks.example.com/7f3a"


def a_call(
    body: bytes = b'{"x":1}',
    *,
    stream: bool = False,
    task: Task = "infer",
    deadline: float = float("inf"),
) -> Call:
    return Call(id="c1", model="m", task=task, body=body, stream=stream, deadline=deadline)


@contextlib.asynccontextmanager
async def platform(
    clock: FakeClock, *answers: bytes, management: tuple[bytes, ...] = (), **settings: Any
) -> AsyncIterator[tuple[Baseten, Scripted, Scripted]]:
    async with scripted(*answers) as (script, url), scripted(*management) as (api, at):
        given = {**settings_for(url), "management_url": f"{at}/v1", **settings}
        backend = Baseten("b", BasetenSettings(**given), clock)
        await backend.start()
        try:
            yield backend, script, api
        finally:
            await backend.aclose()


async def failing(clock: FakeClock, *answers: bytes, **settings: Any) -> BackendError:
    async with platform(clock, *answers, **settings) as (backend, _, _):
        with pytest.raises(BackendError) as caught:
            await drive(clock, backend.invoke(a_call()))
        return caught.value


# --- predict ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "target"),
    [
        ({}, "/environments/production/predict"),
        ({"environment": "staging"}, "/environments/staging/predict"),
        ({"environment": "development"}, "/development/predict"),
        ({"deployment": "d7"}, "/deployment/d7/predict"),
        ({"regional": True}, "/predict"),
    ],
)
async def test_the_key_is_an_api_key_and_the_path_says_who_is_called(
    clock: FakeClock, settings: dict[str, Any], target: str
) -> None:
    odd = b'{ "x":1.50, "unknown":[] }'
    async with platform(clock, answer(b'{"y": 2.50}'), **settings) as (backend, script, _):
        reply = await backend.invoke(a_call(odd))
    assert script.targets() == [f"POST {target}"]
    assert script.requests[0].headers["authorization"] == f"Api-Key {KEY}"
    assert script.requests[0].body == odd
    assert reply.body == b'{"y": 2.50}'


def test_a_model_has_a_host_of_its_own() -> None:
    given: dict[str, Any] = {"model": "abc123", "api_key": Secret("k")}
    assert BasetenSettings(**given).url() == "https://model-abc123.api.baseten.co"
    regional = BasetenSettings(**given, regional=True, environment="prod-eu")
    assert regional.url() == "https://model-abc123-prod-eu.api.baseten.co"


async def test_a_throttled_call_says_when_to_come_again(clock: FakeClock) -> None:
    error = await failing(clock, answer({"error": "slow down"}, 429, retry_after="7"))
    assert (error.failure, error.retry_after) == (FailureClass.OVERLOADED, 7.0)


async def test_a_lost_answer_is_ambiguous_and_asked_for_no_second_time(
    clock: FakeClock,
) -> None:
    async with platform(clock, b"") as (backend, script, _):
        with pytest.raises(BackendError) as caught:
            await backend.invoke(a_call())
        assert caught.value.failure is FailureClass.AMBIGUOUS
        assert len(script.requests) == 1


async def test_a_call_that_woke_a_replica_says_how_long_that_took() -> None:
    """On the platform of the tests."""
    with model_running(boot=0.6) as (model, url):
        backend = Baseten("b", BasetenSettings(**settings_for(url)), SystemClock())
        await backend.start()
        try:
            assert (await backend.invoke(a_call())).usage.cold_s is None
            model.status = "SCALED_TO_ZERO"
            probe = await backend.probe()
            assert (probe.ready, probe.warm_workers) == (False, 0)
            usage = (await backend.invoke(a_call())).usage
            assert usage.cold_s is not None
            assert usage.cold_s > 0.4
            model.status = "SCALED_TO_ZERO"
            pinged = await backend.ping()
            assert pinged.cold_s is not None
            assert pinged.cold_s > 0.4
            await backend.keep_workers(1)
            assert model.settings["min_replica"] == 1
            assert model.settings["max_replica"] == 1
        finally:
            await backend.aclose()


# --- with a webhook -----------------------------------------------------------------------------


def accepted(status: str = "", **more: Any) -> bytes:
    return answer({"request_id": "r1", "status": status, **more}, 201 if not status else 200)


async def test_with_a_webhook_the_caller_gets_a_receipt_and_no_output(
    clock: FakeClock,
) -> None:
    answers = (
        accepted(),
        accepted("QUEUED"),
        accepted("IN_PROGRESS"),
        accepted("SUCCEEDED", webhook_status="SUCCEEDED", data={"secret": 1}),
    )
    async with platform(clock, *answers, webhook=HOOK) as (backend, script, _):
        call = a_call(b'{"x":1.50}', deadline=clock.monotonic() + 60.5)
        reply = await drive(clock, backend.invoke(call))
    assert json.loads(reply.body) == {
        "request_id": "r1",
        "status": "SUCCEEDED",
        "webhook_status": "SUCCEEDED",
    }
    assert script.targets()[0] == "POST /environments/production/async_predict"
    assert script.requests[0].body.startswith(b'{"model_input":{"x":1.50},')
    assert json.loads(script.requests[0].body) == {
        "model_input": {"x": 1.5},
        "webhook_endpoint": HOOK,
        "priority": 1,
        "max_time_in_queue_seconds": 60,
        "inference_retry_config": {"max_attempts": 1},
    }
    assert call.progress.queued_until > 0


async def test_an_asynchronous_body_has_a_limit_and_no_stream(clock: FakeClock) -> None:
    async with platform(clock, webhook=HOOK) as (backend, script, _):
        capabilities = backend.capabilities
        assert capabilities.max_request_bytes == 255 * 1024
        assert capabilities.tasks == {"infer"}
        assert not capabilities.streaming
        for call in (a_call(stream=True), a_call(task="chat"), a_call(b"{}x")):
            with pytest.raises(BackendError):
                await backend.invoke(call)
        assert not script.requests


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("FAILED", FailureClass.FAILED),
        ("EXPIRED", FailureClass.NOT_STARTED),
        ("CANCELED", FailureClass.NOT_STARTED),
        ("WEBHOOK_FAILED", FailureClass.FAILED),
    ],
)
async def test_every_end_but_a_good_one_is_a_failure(
    clock: FakeClock, status: str, expected: FailureClass
) -> None:
    ended = accepted(status, errors=[{"message": f"boo {KEY}"}])
    error = await failing(clock, accepted(), ended, webhook=HOOK)
    assert error.failure is expected
    assert error.message.endswith("boo ***")
    assert (error.usage is None) is (expected is FailureClass.NOT_STARTED)


async def test_a_submit_that_names_nothing_is_ambiguous(clock: FakeClock) -> None:
    error = await failing(clock, answer({}, 201), webhook=HOOK)
    assert error.failure is FailureClass.AMBIGUOUS


@contextlib.asynccontextmanager
async def hooked(model: Model, url: str) -> AsyncIterator[tuple[Baseten, list[Any]]]:
    """A backend whose outputs arrive in a list."""
    taken: list[Any] = []

    async def take(request: Request) -> Response:
        taken.append(await request.json())
        return Response()

    with served(Starlette(routes=[Route("/hook", take, methods=["POST"])])) as at:
        model.hook = f"{at}/hook"
        given = {**settings_for(url), "webhook": HOOK, "poll_every": 0.05}
        backend = Baseten("b", BasetenSettings(**given), SystemClock())
        await backend.start()
        try:
            yield backend, taken
        finally:
            await backend.aclose()


async def test_an_output_arrives_at_its_webhook_before_the_call_is_answered() -> None:
    with model_running() as (model, url):
        async with hooked(model, url) as (backend, taken):
            reply = await backend.invoke(a_call(b'{"echo": "hello"}'))
            assert json.loads(reply.body)["status"] == "SUCCEEDED"
            assert [told["data"] for told in taken] == [{"echo": "hello"}]
            model.hook = "http://127.0.0.1:9/"
            with pytest.raises(BackendError) as caught:
                await backend.invoke(a_call(b'{"echo": "hello"}'))
            assert "output is lost" in caught.value.message


async def test_a_call_that_waits_for_a_replica_can_be_cancelled() -> None:
    with model_running() as (model, url):
        async with hooked(model, url) as (backend, taken):
            task = asyncio.ensure_future(backend.invoke(a_call(b'{"queue": 60}')))
            await until(lambda: model.requests)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await backend.cancel("c1")
            assert [known["status"] for known in model.requests.values()] == ["CANCELED"]
            assert not taken


# --- replicas -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shown", "ready", "warm", "starting"),
    [
        ({"status": "ACTIVE", "active_replica_count": 2}, True, 2, 0),
        ({"status": "ACTIVE"}, True, 1, 0),
        ({"status": "UPDATING", "active_replica_count": 1}, True, 1, 1),
        ({"status": "SCALED_TO_ZERO", "active_replica_count": 0}, False, 0, 0),
        ({"status": "WAKING_UP", "active_replica_count": 0}, False, 0, 1),
        ({"status": "INACTIVE"}, False, 0, 0),
        ({"current_deployment": {"status": "ACTIVE", "active_replica_count": 1}}, True, 1, 0),
    ],
)
async def test_the_probe_asks_the_management_api_and_wakes_nothing(
    clock: FakeClock, shown: dict[str, Any], ready: bool, warm: int, starting: int
) -> None:
    async with platform(clock, management=(answer(shown),)) as (backend, script, _):
        probe = await backend.probe()
        assert not script.requests
    assert (probe.ready, probe.warm_workers, probe.starting_workers) == (ready, warm, starting)


async def test_what_is_assumed_is_put_to_the_test(clock: FakeClock) -> None:
    shown = (answer({"status": "SCALED_TO_ZERO"}), answer({"oops": 1}), answer({}, 403), b"")
    async with platform(clock, management=shown) as (backend, _, _):
        found = [(await backend.assumptions())[0] for _ in shown]
    assert [one.holds for one in found] == [True, False, False, None]
    assert "SCALED_TO_ZERO" in found[0].found


@pytest.mark.parametrize("shown", [answer([]), answer({}, 403), b""])
async def test_a_probe_of_something_else_is_not_ready(clock: FakeClock, shown: bytes) -> None:
    async with platform(clock, management=(shown,)) as (backend, _, _):
        assert not (await backend.probe()).ready


@pytest.mark.parametrize(
    ("settings", "target", "body"),
    [
        ({}, "/deployments/production/autoscaling_settings", {"min_replica": 2}),
        ({"deployment": "d7"}, "/deployments/d7/autoscaling_settings", {"min_replica": 2}),
        (
            {"environment": "staging"},
            "/environments/staging",
            {"autoscaling_settings": {"min_replica": 2}},
        ),
    ],
)
async def test_keeping_workers_sets_the_least_replicas(
    clock: FakeClock, settings: dict[str, Any], target: str, body: dict[str, Any]
) -> None:
    taken = answer({"status": "QUEUED", "message": ""})
    async with platform(clock, management=(taken,), **settings) as (backend, _, api):
        await backend.keep_workers(2)
    assert api.targets() == [f"PATCH /v1/models/m1{target}"]
    assert json.loads(api.requests[0].body) == body


async def test_a_replica_that_does_not_wake_is_loading(clock: FakeClock) -> None:
    asleep = [answer({"status": "SCALED_TO_ZERO", "active_replica_count": 0})] * 40
    woken = answer({}, 202)
    async with platform(clock, woken, management=(*asleep,), wake_wait=20.0) as (backend, _, _):
        with pytest.raises(BackendError) as caught:
            await drive(clock, backend.ping())
        assert caught.value.failure is FailureClass.LOADING


@pytest.mark.parametrize(
    "given",
    [
        {"model": "no/slash"},
        {"webhook": "http://plain.example.com"},
        {"regional": True, "deployment": "d7"},
        {"base_url": "x"},
        {"timeout": 1201.0},
    ],
)
def test_settings_that_cannot_work_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"id|https|regional|URL|20m"):
        BasetenSettings(**{"model": "m1", "api_key": Secret("k"), **given})


async def test_a_stream_of_text_is_one_event_a_piece() -> None:
    with model_running() as (_, url):
        backend = Baseten("b", BasetenSettings(**settings_for(url)), SystemClock())
        await backend.start()
        try:
            reply = await backend.invoke(a_call(b'{"words": ["a\\n", "b"]}', stream=True))
            data = await whole(reply)
        finally:
            await backend.aclose()
    assert "".join(json.loads(event[6:]) for event in data.strip().split(b"\n\n")) == "a\nb"
