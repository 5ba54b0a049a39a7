"""RunPod's job plane, scripted: what its answers make the adapter do."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator

import pytest

from adapters.errors import BackendError, FailureClass
from adapters.polling import LOST_AFTER
from adapters.runpod.backend import RunPod
from adapters.runpod.queue import RUN_LIMIT
from adapters.types import Call
from gateway.clock import FakeClock, settle
from tests.adapters.runpod.platform import DONE, KEY, a_call, job, platform, settings_for
from tests.adapters.servers import CUT, STALL, RawServer, answer, drive, read_request


async def failing(clock: FakeClock, *answers: bytes, call: Call | None = None) -> BackendError:
    async with platform(clock, *answers) as (backend, _):
        with pytest.raises(BackendError) as caught:
            await drive(clock, backend.invoke(call or a_call()))
        return caught.value


# --- whole answers ------------------------------------------------------------------------------


async def test_a_call_is_one_runsync_with_the_callers_bytes_inside(clock: FakeClock) -> None:
    odd = b'{ "x":1.50, "unknown":[] }'
    async with platform(clock, job(**DONE), wait=20.0) as (backend, script):
        reply = await backend.invoke(a_call(odd))
    assert script.targets() == ["POST /v2/ep/runsync?wait=20000"]
    assert script.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert script.requests[0].body.startswith(b'{"input":' + odd + b',"policy":')
    assert reply.body == b'{"y":2}'
    assert reply.usage.worker == "w1"
    assert reply.usage.reported


async def test_an_openai_call_travels_in_the_vllm_workers_envelope(clock: FakeClock) -> None:
    async with platform(clock, job(output=[{"choices": [{"text": ""}]}])) as (backend, script):
        await backend.invoke(a_call(b'{"model":"m"}', task="chat"))
    assert json.loads(script.requests[0].body)["input"] == {
        "openai_route": "/v1/chat/completions",
        "openai_input": {"model": "m"},
    }


async def test_the_deadline_becomes_the_jobs_own_limits(clock: FakeClock) -> None:
    """So that a job whose caller is gone is ended by the platform."""
    async with platform(clock, job(**DONE), job(**DONE), low_priority=True) as (backend, script):
        await backend.invoke(a_call(deadline=clock.monotonic() + 42.0))
        await backend.invoke(a_call(deadline=clock.monotonic() + 2.0))
    policies = [json.loads(request.body)["policy"] for request in script.requests]
    assert policies == [
        {"executionTimeout": 42_000, "ttl": 42_000, "lowPriority": True},
        {"executionTimeout": 5_000, "ttl": 10_000, "lowPriority": True},
    ]
    assert script.targets()[1] == "POST /v2/ep/runsync?wait=1000"


@pytest.mark.parametrize(
    "body",
    [b"[]", b'"x"', b"3", b"{}x", b'{},"webhook":"http://evil"', b'{"a":1}}', b"\xff"],
)
async def test_an_input_that_is_no_object_is_invalid_and_never_sent(
    clock: FakeClock, body: bytes
) -> None:
    """What would close the envelope and add a sibling to the input is refused too."""
    async with platform(clock) as (backend, script):
        with pytest.raises(BackendError) as caught:
            await backend.invoke(a_call(body))
        assert caught.value.failure is FailureClass.INVALID
        assert not script.requests


async def test_an_unknown_status_is_waited_for_until_the_deadline_and_no_longer(
    clock: FakeClock,
) -> None:
    started = clock.monotonic()
    answers = [job("WHAT_IS_THIS")] * 200
    error = await failing(clock, *answers, call=a_call(deadline=started + 30.0))
    assert error.failure is FailureClass.TIMEOUT
    assert clock.monotonic() - started < 31.0


async def test_polls_become_rarer_as_a_job_grows_old(clock: FakeClock) -> None:
    answers = [job("IN_PROGRESS")] * 400
    async with platform(clock, *answers, timeout=300.0) as (backend, script):
        with pytest.raises(BackendError):
            await drive(clock, backend.invoke(a_call()), step=0.25)
        assert 150 < len(script.requests) < 250


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (answer({"error": "bad"}, 400), FailureClass.INVALID),
        (answer({"error": "unauthorized"}, 401), FailureClass.CREDENTIAL),
        (answer({"error": "endpoint not found"}, 404), FailureClass.GONE),
        (answer({}, 429), FailureClass.OVERLOADED),
        (answer({}, 500), FailureClass.FAILED),
        (answer(b"not json"), FailureClass.MALFORMED),
        (b"", FailureClass.AMBIGUOUS),
        (answer({"status": "IN_QUEUE"}), FailureClass.AMBIGUOUS),
        (job(**DONE)[:-4] + CUT, FailureClass.TRUNCATED),
        (job("FAILED", error="boo", executionTime=5), FailureClass.FAILED),
        (job("CANCELLED", executionTime=5), FailureClass.CANCELLED),
        (job("TIMED_OUT", workerId="w1"), FailureClass.TIMEOUT),
        (job("FAILED", error="boo"), FailureClass.NOT_STARTED),
        (job("FAILED", delayTime=9000), FailureClass.NOT_STARTED),
        (job("CANCELLED", executionTime=0), FailureClass.NOT_STARTED),
        (job("TIMED_OUT", delayTime=9000), FailureClass.NOT_STARTED),
        (answer({"error": "endpoint paused"}), FailureClass.GONE),
        (answer({"error": "Insufficient balance"}), FailureClass.QUOTA),
        (answer({"message": "no workers available"}), FailureClass.OVERLOADED),
        (answer({"detail": "something else"}), FailureClass.FAILED),
        (answer({"id": "j1", "error": "endpoint paused"}), FailureClass.MALFORMED),
        (answer({"error": "this endpoint is disabled"}, 400), FailureClass.GONE),
        (answer({"error": "workspace is out of credits"}, 500), FailureClass.QUOTA),
    ],
)
async def test_every_end_of_a_submit_has_its_class(
    clock: FakeClock, reply: bytes, expected: FailureClass
) -> None:
    error = await failing(clock, reply)
    assert error.failure is expected
    assert KEY not in error.message + error.detail


@pytest.mark.parametrize("hiccup", [answer({}, 500), answer({}, 429), b"", answer(b"<html>")])
async def test_a_poll_that_fails_says_nothing_of_the_job(clock: FakeClock, hiccup: bytes) -> None:
    answers = [job("IN_QUEUE"), hiccup, hiccup, job(**DONE)]
    async with platform(clock, *answers) as (backend, script):
        assert (await drive(clock, backend.invoke(a_call()))).body == b'{"y":2}'
    assert len([t for t in script.targets() if "runsync" in t]) == 1


async def test_a_job_that_can_no_longer_be_asked_about_is_ambiguous(clock: FakeClock) -> None:
    """Not UNREACHABLE or CREDENTIAL: another backend would run it a second time."""
    lost = await failing(clock, job("IN_QUEUE"), *[answer({}, 500)] * LOST_AFTER)
    revoked = await failing(clock, job("IN_QUEUE"), answer({}, 401))
    assert lost.failure is revoked.failure is FailureClass.AMBIGUOUS


async def test_a_stream_takes_ten_megabytes_where_a_whole_call_takes_twenty(
    clock: FakeClock,
) -> None:
    body = b'{"x":"' + b"y" * RUN_LIMIT + b'"}'
    async with platform(clock, job(**DONE)) as (backend, script):
        with pytest.raises(BackendError) as caught:
            await backend.invoke(a_call(body, stream=True))
        assert caught.value.failure is FailureClass.TOO_LARGE
        assert not script.requests
        assert (await backend.invoke(a_call(body))).body == b'{"y":2}'


# --- cancelling ---------------------------------------------------------------------------------


async def test_a_job_that_is_polled_is_cancelled_by_its_id(clock: FakeClock) -> None:
    answers = [job("IN_QUEUE"), job("IN_PROGRESS"), job("CANCELLED"), job("CANCELLED", **DONE)]
    async with platform(clock, *answers) as (backend, script):
        task = asyncio.ensure_future(backend.invoke(a_call()))
        while len(script.requests) < 2:
            await settle()
        await settle()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        usage = await backend.cancel("c1")
        assert script.targets()[2:] == ["POST /v2/ep/cancel/j1", "GET /v2/ep/status/j1"]
        assert usage is not None
        assert usage.exec_s == 0.05
        assert await backend.cancel("c1") is None


@contextlib.asynccontextmanager
async def holding(clock: FakeClock) -> AsyncIterator[tuple[RunPod, asyncio.Event, list[str]]]:
    """A platform that holds a submit until the event is set; a call to it was just cancelled."""
    come = asyncio.Event()
    targets: list[str] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            request = await read_request(reader)
            targets.append(request.target)
            if "runsync" in request.target:
                await come.wait()
            writer.write(job("IN_PROGRESS"))

    async with (
        RawServer(talk).running() as server,
        contextlib.aclosing(RunPod("rp", settings_for(server.url), clock)) as backend,
    ):
        await backend.start()
        task = asyncio.ensure_future(backend.invoke(a_call()))
        while not targets:
            await settle()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        yield backend, come, targets


async def test_a_call_cancelled_while_it_is_held_is_cancelled_once_its_id_is_known(
    clock: FakeClock,
) -> None:
    """The answer of /runsync alone names the job, so it outlives the caller."""
    async with holding(clock) as (backend, come, targets):
        stop = asyncio.ensure_future(backend.cancel("c1"))
        await settle()
        come.set()
        await stop
        assert targets[1] == "/v2/ep/cancel/j1"
        assert "0 active" in repr(backend)


async def test_a_held_job_is_stopped_though_whoever_cancels_did_not_wait(clock: FakeClock) -> None:
    async with holding(clock) as (backend, come, targets):
        stop = asyncio.ensure_future(backend.cancel("c1"))
        await settle()
        stop.cancel()
        with pytest.raises(asyncio.CancelledError):
            await stop
        come.set()
        await settle(200)
        assert targets[1] == "/v2/ep/cancel/j1"


async def test_closing_ends_the_wait_for_a_held_job(clock: FakeClock) -> None:
    async with holding(clock) as (backend, _, targets):
        stop = asyncio.ensure_future(backend.cancel("c1"))
        await settle()
        stop.cancel()
        await settle()
        await backend.aclose()
        assert len(targets) == 1


async def test_a_held_call_that_nobody_cancels_is_given_up(clock: FakeClock) -> None:
    async with platform(clock, STALL, wait=5.0) as (backend, script):
        task = asyncio.ensure_future(backend.invoke(a_call()))
        while not script.requests:
            await settle()
        task.cancel()
        await clock.advance(14.0)
        assert "1 active" in repr(backend)
        await clock.advance(2.0)
        assert "0 active" in repr(backend)
        assert await backend.cancel("c1") is None


async def test_cancel_is_tried_again_when_it_fails(clock: FakeClock) -> None:
    answers = [*[job("IN_QUEUE")] * 3, answer({}, 500), b"", job("CANCELLED")]
    answers.append(job("CANCELLED", **DONE))
    async with platform(clock, *answers) as (backend, script):
        with pytest.raises(BackendError):
            await drive(clock, backend.invoke(a_call(deadline=clock.monotonic() + 0.1)))
        usage = await drive(clock, backend.cancel("c1"))
        assert script.targets().count("POST /v2/ep/cancel/j1") == 3
        assert usage is not None


async def test_cancelling_an_unknown_call_does_nothing(clock: FakeClock) -> None:
    async with platform(clock) as (backend, script):
        assert await backend.cancel("other") is None
        assert not script.requests


# --- warmth and probes --------------------------------------------------------------------------


async def test_a_ping_is_one_tiny_job(clock: FakeClock) -> None:
    async with platform(clock, job(**DONE), ping_input={"warm": 1}) as (backend, script):
        usage = await backend.ping()
    assert json.loads(script.requests[0].body)["input"] == {"warm": 1}
    assert usage.worker == "w1"


async def test_a_ping_that_the_handler_refuses_has_kept_it_awake(clock: FakeClock) -> None:
    answers = [job("FAILED", error="what is this", executionTime=5), answer({}, 401)]
    async with platform(clock, *answers) as (backend, _):
        assert (await backend.ping()).exec_s == 0.005
        with pytest.raises(BackendError):
            await backend.ping()


async def test_a_refused_change_of_workers_says_why(clock: FakeClock) -> None:
    async with platform(clock, answer({}), answer({"title": "no"}, 403)) as (backend, script):
        await backend.keep_workers(2)
        with pytest.raises(BackendError) as caught:
            await backend.keep_workers(3)
        assert caught.value.failure is FailureClass.CREDENTIAL
    assert script.targets() == ["PATCH /v2/serverless/ep"] * 2


async def test_a_probe_counts_workers_and_the_queue(clock: FakeClock) -> None:
    health = {"jobs": {"inQueue": 4}, "workers": {"idle": 1, "running": 1, "initializing": 2}}
    async with platform(clock, answer(health)) as (backend, _):
        probe = await backend.probe()
    assert probe.ready
    assert (probe.warm_workers, probe.starting_workers, probe.queued) == (2, 2, 4)


@pytest.mark.parametrize("reply", [answer({}, 401), b"", answer(b"<html>")])
async def test_a_probe_never_raises(clock: FakeClock, reply: bytes) -> None:
    async with platform(clock, reply) as (backend, _):
        probe = await backend.probe()
    assert not probe.ready
    assert probe.detail


async def test_slots_are_what_the_settings_say(clock: FakeClock) -> None:
    async with platform(clock, max_workers=3) as (backend, _):
        assert backend.slots == 3
    async with platform(clock) as (backend, _):
        assert backend.slots is None
