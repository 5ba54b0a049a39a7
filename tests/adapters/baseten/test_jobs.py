"""Baseten's asynchronous calls as jobs: a receipt in the end, for the output is the webhook's."""

from __future__ import annotations

import json

import pytest

from adapters.base import LongRunning
from adapters.errors import BackendError, FailureClass
from adapters.types import Handle, JobState
from gateway.clock import FakeClock
from tests.adapters.baseten.stage import model_running
from tests.adapters.baseten.test_backend import HOOK, a_call, accepted, hooked, platform
from tests.adapters.scenarios import until
from tests.adapters.servers import CUT, answer

HANDLE = Handle(job="r/1", call="c1", task="infer", submitted=0.0)


async def test_a_job_is_handed_over_asked_about_and_ends_in_a_receipt(clock: FakeClock) -> None:
    states = [accepted("QUEUED"), accepted("IN_PROGRESS"), accepted("WHATEVER")]
    end = accepted("SUCCEEDED", webhook_status="SUCCEEDED", data={"secret": 1})
    async with platform(clock, accepted(), *states, end, webhook=HOOK) as (backend, script, _):
        assert isinstance(backend, LongRunning)
        handle = await backend.submit(a_call())
        seen = [await backend.poll(handle) for _ in states]
        done = await backend.poll(handle)
    assert handle == Handle(job="r1", call="c1", task="infer", submitted=clock.time())
    assert seen == [JobState(status=one) for one in ("queued", "running", "running")]
    assert done.reply is not None
    assert json.loads(done.reply.body) == {
        "request_id": "r1",
        "status": "SUCCEEDED",
        "webhook_status": "SUCCEEDED",
    }
    assert json.loads(script.requests[0].body)["webhook_endpoint"] == HOOK


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        (accepted("FAILED"), FailureClass.FAILED),
        (accepted("CANCELED"), FailureClass.NOT_STARTED),
        (accepted("WEBHOOK_FAILED"), FailureClass.FAILED),
        (accepted("EXPIRED"), FailureClass.NOT_STARTED),
        (answer(b"<html>", 404), FailureClass.TIMEOUT),
        (answer(b"oops", 500), FailureClass.AMBIGUOUS),
        (answer(b"{", 200), FailureClass.AMBIGUOUS),
        (answer({}, 429), FailureClass.OVERLOADED),
    ],
)
async def test_an_end_is_told_from_a_question_that_failed(
    clock: FakeClock, end: bytes, expected: FailureClass
) -> None:
    async with platform(clock, end, webhook=HOOK) as (backend, script, _):
        with pytest.raises(BackendError) as caught:
            await backend.poll(HANDLE)
        assert script.targets() == ["GET /async_request/r%2F1"]
    assert caught.value.failure is expected


async def test_a_cut_answer_says_nothing_of_the_job(clock: FakeClock) -> None:
    async with platform(clock, CUT, webhook=HOOK) as (backend, _, _api):
        with pytest.raises(BackendError) as caught:
            await backend.poll(HANDLE)
    assert caught.value.failure in (FailureClass.AMBIGUOUS, FailureClass.UNREACHABLE)


async def test_without_a_webhook_no_call_is_a_job(clock: FakeClock) -> None:
    """The platform would keep no output of it."""
    async with platform(clock) as (backend, script, _):
        with pytest.raises(BackendError) as caught:
            await backend.submit(a_call())
        assert not script.requests
    assert caught.value.failure is FailureClass.UNSUPPORTED


async def test_a_job_that_waits_is_stopped_and_one_that_has_run_has_its_output_delivered() -> None:
    with model_running() as (model, url):
        async with hooked(model, url) as (backend, taken):
            ran = await backend.submit(a_call(b'{"echo": "hello"}'))
            await until(lambda: taken)
            await until(lambda: model.requests[ran.job]["status"] == "SUCCEEDED")
            assert (await backend.poll(ran)).status == "done"
            waits = await backend.submit(a_call(b'{"queue": 60}'))
            assert (await backend.poll(waits)).status == "queued"
            assert await backend.stop(waits) is None
            with pytest.raises(BackendError) as caught:
                await backend.poll(waits)
            assert caught.value.failure is FailureClass.NOT_STARTED
            assert await backend.stop(HANDLE) is None
    assert [told["data"] for told in taken] == [{"echo": "hello"}]
