"""What is known to go wrong with RunPod, one test each."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys

import pytest

from adapters.errors import BackendError, FailureClass, Ran
from adapters.runpod.settings import RunPodSettings
from adapters.settings import Secret
from adapters.types import Call, Reply
from gateway.clock import FakeClock
from gateway.money.pricing import charge
from gateway.policy.sections.price import Price
from tests.adapters.runpod.platform import DONE, a_call, job, platform, polled, settings_for
from tests.adapters.servers import answer, drive


async def failing(clock: FakeClock, *answers: bytes, call: Call | None = None) -> BackendError:
    async with platform(clock, *answers) as (backend, _):
        with pytest.raises(BackendError) as caught:
            await drive(clock, backend.invoke(call or a_call()))
        return caught.value


async def exhaust(reply: Reply) -> None:
    assert reply.chunks is not None
    async for _ in reply.chunks:
        pass


def test_jobs_and_management_live_on_two_hosts() -> None:
    settings = RunPodSettings(endpoint="e", api_key=Secret("k"))
    assert settings.base_url == "https://api.runpod.ai/v2"
    assert settings.management_url == "https://api.runpod.io/v2"


async def test_workers_are_kept_over_the_second_plane_nested(clock: FakeClock) -> None:
    async with platform(clock, answer({})) as (backend, script):
        await backend.keep_workers(2)
    assert script.targets() == ["PATCH /v2/serverless/ep"]
    assert json.loads(script.requests[0].body) == {"workers": {"min": 2}}


@pytest.mark.parametrize("status", ["IN_QUEUE", "IN_PROGRESS", "RUNNING", "SOMETHING_NEW"])
async def test_a_held_call_that_has_not_ended_is_polled_and_never_submitted_again(
    clock: FakeClock, status: str
) -> None:
    answers = [job(status), job(status), job("IN_PROGRESS"), job(**DONE)]
    async with platform(clock, *answers) as (backend, script):
        reply = await drive(clock, backend.invoke(a_call()))
    assert script.targets()[1:] == ["GET /v2/ep/status/j1"] * 3
    assert reply.body == b'{"y":2}'


async def test_a_result_is_taken_from_the_first_answer_that_holds_it(
    clock: FakeClock,
) -> None:
    """A minute later the platform has forgotten it: nothing is left to be fetched."""
    async with platform(clock, job(**DONE)) as (backend, script):
        assert (await backend.invoke(a_call())).body == b'{"y":2}'
        assert len(script.requests) == 1


async def test_a_job_that_is_forgotten_may_have_run_and_is_no_unknown_endpoint(
    clock: FakeClock,
) -> None:
    """It may have run, and may have been billed."""
    error = await failing(clock, job("IN_QUEUE"), answer({}, 404))
    assert error.failure is FailureClass.AMBIGUOUS
    assert error.ran is Ran.MAYBE


async def test_a_stream_is_polled_at_least_every_quarter_of_a_second(
    clock: FakeClock,
) -> None:
    answers = [job("IN_QUEUE"), *[polled("IN_PROGRESS", n) for n in range(8)]]
    async with platform(clock, *answers, polled("COMPLETED"), job(**DONE)) as (backend, _):
        reply = await drive(clock, backend.invoke(a_call(stream=True)))
        began = clock.monotonic()
        await drive(clock, exhaust(reply))
        assert clock.monotonic() - began <= 9 * 0.25


@pytest.mark.parametrize("status", ["COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT"])
async def test_a_stream_stops_at_every_end_of_its_job(clock: FakeClock, status: str) -> None:
    """RunPod's own client asks on for ever after CANCELLED."""
    answers = [job("IN_QUEUE"), polled("IN_PROGRESS", 1), polled(status), job(status, **DONE)]
    async with platform(clock, *answers) as (backend, script):
        reply = await drive(clock, backend.invoke(a_call(stream=True)))
        good = status == "COMPLETED"
        with contextlib.nullcontext() if good else pytest.raises(BackendError):
            await drive(clock, exhaust(reply))
        assert len(script.requests) == 4


@pytest.mark.parametrize("status", ["FAILED", "TIMED_OUT"])
async def test_the_status_decides_and_not_that_there_is_an_output(
    clock: FakeClock, status: str
) -> None:
    error = await failing(clock, job(status, output={"y": 2}))
    assert error.failure in (FailureClass.FAILED, FailureClass.TIMEOUT)


async def test_an_error_that_is_json_in_a_string_loses_its_traceback(
    clock: FakeClock,
) -> None:
    said = {
        "error_type": "<class 'ValueError'>",
        "error_message": "boo",
        "error_traceback": "Traceback (most recent call last): /app/secret.py",
        "hostname": "pod-7",
    }
    error = await failing(clock, job("FAILED", error=json.dumps(said)))
    assert error.message == "ValueError: boo"


async def test_the_output_of_a_job_in_progress_is_no_result(clock: FakeClock) -> None:
    answers = [job("IN_PROGRESS", output="half way"), job("IN_PROGRESS", output=1), job(**DONE)]
    async with platform(clock, *answers) as (backend, _):
        assert (await drive(clock, backend.invoke(a_call()))).body == b'{"y":2}'


async def test_times_are_milliseconds_on_the_wire_and_seconds_here(
    clock: FakeClock,
) -> None:
    async with platform(clock, job(**DONE)) as (backend, _):
        usage = (await backend.invoke(a_call())).usage
    assert (usage.exec_s, usage.cold_s) == (0.05, 0.1)


async def test_the_time_of_a_run_is_not_what_is_billed(clock: FakeClock) -> None:
    """A price says that a start is billed too, and the bill alone says what the rest came to."""
    record = {"totalAmount": 0.25, "time": "2026-11-22T00:00:00Z"}
    async with platform(clock, job(**DONE), answer({"records": [record]})) as (backend, _):
        usage = (await backend.invoke(a_call())).usage
        bill = await backend.bill(0.0, 3600.0)
    price = Price(per_second=1000, bills=("start", "run"), as_of="2026-11-22", source="test")
    assert usage.cost_nano is None
    assert charge(price, usage) == 150
    assert bill.cost_nano == 250_000_000


async def test_a_webhook_is_a_secret_url_and_is_told_with_every_job(
    clock: FakeClock,
) -> None:
    """It is unsigned, so whoever knows the URL is believed: nothing of ours shows it."""
    url = "https://hooks.example/6b1f9d"
    echo = job("FAILED", error=f"cannot post to {url}")
    async with platform(clock, echo, job("IN_QUEUE"), webhook=Secret(url)) as (backend, script):
        with pytest.raises(BackendError) as caught:
            await backend.invoke(a_call())
        await backend.submit(a_call(deadline=clock.monotonic() + 60.0))
        assert url not in caught.value.message + repr(backend)
        assert url not in repr(settings_for("http://127.0.0.1:1", webhook=Secret(url)))
    assert [json.loads(request.body)["webhook"] for request in script.requests] == [url, url]


async def test_an_endpoint_without_workers_is_found_and_can_be_raised_again(
    clock: FakeClock,
) -> None:
    """The platform sets workers.max to 0 after idle days: jobs would wait for ever."""
    answers = [answer({"jobs": {"inQueue": 4}, "workers": {}}), answer({"workers": {"max": 0}})]
    async with platform(clock, *answers, answer({}), scale_max=3) as (backend, script):
        probe = await backend.probe()
        await backend.keep_workers(1)
    assert not probe.ready
    assert "workers.max is 0" in probe.detail
    assert json.loads(script.requests[-1].body) == {"workers": {"min": 1, "max": 3}}


def test_the_sdk_is_not_imported_and_logging_stays_as_it_was() -> None:
    code = (
        "import logging, sys; from adapters import load_kind; load_kind('runpod');"
        "assert 'runpod' not in sys.modules; root = logging.getLogger();"
        "assert root.level == logging.WARNING and not root.handlers"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize(
    ("status", "expected"),
    [(429, FailureClass.OVERLOADED), (500, FailureClass.FAILED), (401, FailureClass.CREDENTIAL)],
)
async def test_a_submit_is_sent_once_and_its_refusal_is_read(
    clock: FakeClock, status: int, expected: FailureClass
) -> None:
    """RunPod's own client repeats some over plain http, and makes a KeyError of the rest."""
    async with platform(clock, answer({"error": "no"}, status)) as (backend, script):
        with pytest.raises(BackendError) as caught:
            await backend.invoke(a_call())
        assert caught.value.failure is expected
        assert len(script.requests) == 1
