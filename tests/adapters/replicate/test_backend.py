"""Replicate's cloud, scripted: what its answers make the adapter do."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from adapters.errors import BackendError, FailureClass
from adapters.replicate.api import ReplicateSettings, delay_in, same_site
from adapters.settings import Secret
from gateway.clock import FakeClock, settle
from tests.adapters.replicate.platform import DONE, KEY, a_call, failing, platform, prediction
from tests.adapters.servers import CUT, STALL, answer, drive

# --- creating -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "target", "body"),
    [
        ({"model": "o/n"}, "POST /v1/models/o/n/predictions", b'{"input":{"x":1}}'),
        ({"deployment": "o/n"}, "POST /v1/deployments/o/n/predictions", b'{"input":{"x":1}}'),
        ({"version": "o/n:9f"}, "POST /v1/predictions", b'{"version":"o/n:9f","input":{"x":1}}'),
    ],
)
async def test_a_model_a_deployment_and_a_version_are_each_asked_at_their_own_place(
    clock: FakeClock, settings: dict[str, Any], target: str, body: bytes
) -> None:
    async with platform(clock, prediction(**DONE), **settings) as (backend, script):
        reply = await backend.invoke(a_call())
    assert script.targets() == [target]
    assert script.requests[0].body == body
    assert script.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert reply.body == b'{"y":2}'


async def test_headers_of_the_policy_are_sent_and_take_no_place_of_the_key(
    clock: FakeClock,
) -> None:
    headers = {"X-Proxy": "yes", "Authorization": "none"}
    async with platform(clock, prediction(**DONE), headers=headers) as (backend, script):
        await backend.invoke(a_call())
    assert script.requests[0].headers["x-proxy"] == "yes"
    assert script.requests[0].headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("given", [{}, {"model": "o/n", "version": "v"}])
def test_settings_must_say_one_thing_to_run(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="one of model, deployment and version"):
        ReplicateSettings(api_key=Secret(KEY), **given)


async def test_a_create_is_held_and_says_when_nobody_waits_for_it_any_more(
    clock: FakeClock,
) -> None:
    """The wait is sent for every kind of create, and is shorter than the caller's own."""
    answers = [prediction(**DONE)] * 3
    async with platform(clock, *answers, wait=20.0) as (backend, script):
        for seconds in (90.0, 4.2, 1.5):
            await backend.invoke(a_call(deadline=clock.monotonic() + seconds))
    sent = [(r.headers.get("prefer"), r.headers["cancel-after"]) for r in script.requests]
    assert sent == [("wait=20", "90s"), ("wait=3", "5s"), (None, "5s")]


async def test_a_prediction_that_goes_on_is_waited_for_until_the_deadline(clock: FakeClock) -> None:
    started = clock.monotonic()
    answers = [prediction("processing")] * 200
    error = await failing(clock, *answers, call=a_call(deadline=started + 30.0))
    assert error.failure is FailureClass.TIMEOUT
    assert clock.monotonic() - started < 31.0


# --- how it ends --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (prediction("failed", error="boo"), FailureClass.FAILED),
        (prediction("canceled"), FailureClass.CANCELLED),
        (prediction("aborted"), FailureClass.NOT_STARTED),
        (prediction("canceled", created_at="2026-11-22T12:00:00Z"), FailureClass.NOT_STARTED),
        (answer({"detail": "bad"}, 400), FailureClass.INVALID),
        (answer({"detail": "who are you"}, 401), FailureClass.CREDENTIAL),
        (answer({"detail": "pay"}, 402), FailureClass.QUOTA),
        (answer({"detail": "nowhere"}, 404), FailureClass.GONE),
        (answer({"detail": "slower"}, 429), FailureClass.OVERLOADED),
        (answer({"detail": "oops"}, 500), FailureClass.FAILED),
        (answer(b"not json", 201), FailureClass.MALFORMED),
        (answer({"id": "p1"}, 201), FailureClass.MALFORMED),
        (answer({"status": "starting"}, 201), FailureClass.AMBIGUOUS),
        (b"", FailureClass.AMBIGUOUS),
        (prediction(**DONE)[:-4] + CUT, FailureClass.TRUNCATED),
    ],
)
async def test_every_end_of_a_create_has_its_class(
    clock: FakeClock, reply: bytes, expected: FailureClass
) -> None:
    assert (await failing(clock, reply)).failure is expected


async def test_a_failed_run_is_charged_and_its_traceback_kept_to_ourselves(
    clock: FakeClock,
) -> None:
    said = f"boo {KEY}\nTraceback (most recent call last): secret"
    error = await failing(clock, prediction("failed", error=said, metrics={"predict_time": 2}))
    assert error.message == "boo ***"
    assert error.usage is not None
    assert error.usage.exec_s == 2.0


@pytest.mark.parametrize(
    ("said", "seconds"),
    [("resets in ~2m.", 120.0), ("reset in 500ms", 0.5), ("Resets in 1.5s", 1.5), ("soon", None)],
)
def test_a_delay_in_prose_is_read_with_its_unit(said: str, seconds: float | None) -> None:
    assert delay_in(said) == seconds


async def test_a_refused_input_names_its_field(clock: FakeClock) -> None:
    detail = {"title": "Input validation failed", "detail": "- input.width: Must be under 1024\n"}
    error = await failing(clock, answer(detail, 422))
    assert (error.failure, error.param) == (FailureClass.INVALID, "width")


async def test_a_poll_that_is_throttled_is_repeated_when_the_platform_says(
    clock: FakeClock,
) -> None:
    """Not ten times over, and not for as long as any header says: the deadline bounds it."""
    throttled = answer({"detail": "resets in ~3s"}, 429)
    answers = [prediction("starting", 201), throttled, prediction(**DONE)]
    started = clock.monotonic()
    async with platform(clock, *answers) as (backend, _):
        assert (await drive(clock, backend.invoke(a_call()))).body == b'{"y":2}'
    assert clock.monotonic() - started >= 3.0


# --- what it used -------------------------------------------------------------------------------


async def test_the_first_delay_is_a_cold_start_and_one_soon_after_a_wait(clock: FakeClock) -> None:
    answers = [prediction(**DONE)] * 3
    async with platform(clock, *answers, warm_for=60.0) as (backend, _):
        first = (await backend.invoke(a_call())).usage
        second = (await backend.invoke(a_call())).usage
        await clock.advance(61.0)
        third = (await backend.invoke(a_call())).usage
    assert [(one.queue_s, one.cold_s) for one in (first, second, third)] == [
        (0.0, 3.5),
        (3.5, 0.0),
        (0.0, 3.5),
    ]
    assert first.exec_s == 0.25
    assert first.reported


@pytest.mark.parametrize(
    "odd",
    [
        {"started_at": "yesterday"},
        {"started_at": None},
        {"started_at": "2026-11-22T12:00:00"},
        {"metrics": {"predict_time": "?"}},
        {"metrics": None},
    ],
)
async def test_times_that_cannot_be_read_are_unknown_and_no_failure(
    clock: FakeClock, odd: dict[str, Any]
) -> None:
    async with platform(clock, prediction(**{**DONE, **odd})) as (backend, _):
        usage = (await backend.invoke(a_call())).usage
    assert usage.cold_s is None or usage.exec_s is None


async def test_a_language_models_tokens_are_read_from_its_metrics(clock: FakeClock) -> None:
    metrics = {"predict_time": 1.0, "input_token_count": 5, "output_token_count": 9}
    async with platform(clock, prediction(output="hi", metrics=metrics)) as (backend, _):
        usage = (await backend.invoke(a_call())).usage
    assert (usage.input_tokens, usage.output_tokens) == (5, 9)


# --- cancelling ---------------------------------------------------------------------------------


async def test_a_prediction_is_cancelled_by_its_id(clock: FakeClock) -> None:
    stopped = prediction("canceled", metrics={"predict_time": 1.0})
    async with platform(clock, prediction("starting", 201), STALL, stopped) as (backend, script):
        task = asyncio.ensure_future(backend.invoke(a_call()))
        while len(script.requests) < 2:
            await settle()
        task.cancel()
        await asyncio.wait([task])
        usage = await drive(clock, backend.cancel("c1"))
        assert await backend.cancel("c1") is None
    assert script.targets()[-1] == "POST /v1/predictions/p1/cancel"
    assert usage is not None
    assert usage.exec_s == 1.0


async def test_keeping_workers_patches_the_deployment(clock: FakeClock) -> None:
    async with platform(clock, answer({}), answer({}, 403)) as (backend, script):
        await backend.keep_workers(2)
        with pytest.raises(BackendError) as caught:
            await backend.keep_workers(3)
        assert caught.value.failure is FailureClass.CREDENTIAL
    assert script.targets()[0] == "PATCH /v1/deployments/o/n"
    assert script.requests[0].body == b'{"min_instances":2}'


async def test_only_a_deployment_can_be_kept_warm(clock: FakeClock) -> None:
    async with platform(clock, model="o/n") as (backend, _):
        with pytest.raises(BackendError) as caught:
            await backend.keep_workers(1)
        assert caught.value.failure is FailureClass.UNSUPPORTED


# --- the probe ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "reply", "target", "ready"),
    [
        ({"model": "o/n"}, answer({"owner": "o"}), "GET /v1/models/o/n", True),
        ({"version": "v"}, answer({"username": "o"}), "GET /v1/account", False),
        ({"model": "o/n"}, answer({}, 404), "GET /v1/models/o/n", False),
        ({"model": "o/n"}, answer({}, 401), "GET /v1/models/o/n", False),
    ],
)
async def test_a_probe_asks_about_what_the_calls_run_on(
    clock: FakeClock, settings: dict[str, Any], reply: bytes, target: str, ready: bool
) -> None:
    async with platform(clock, reply, **settings) as (backend, script):
        assert (await backend.probe()).ready is ready
    assert script.targets() == [target]


@pytest.mark.parametrize("kept", [0, 2])
async def test_a_deployment_is_warm_while_it_keeps_instances(clock: FakeClock, kept: int) -> None:
    about = {"current_release": {"configuration": {"min_instances": kept}}}
    async with platform(clock, answer(about)) as (backend, _):
        probe = await backend.probe()
    assert (probe.ready, probe.warm_workers) == (kept > 0, kept)


# --- where the key goes -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "base", "same"),
    [
        ("https://stream.replicate.com/x", "https://api.replicate.com/v1", True),
        ("https://streaming.api.replicate.com/x", "https://api.replicate.com/v1", True),
        ("http://stream.replicate.com/x", "https://api.replicate.com/v1", False),
        ("https://stream.replicate.com.evil.org/x", "https://api.replicate.com/v1", False),
        ("https://evilreplicate.com/x", "https://api.replicate.com/v1", False),
        ("https://api.replicate.com@evil.org/x", "https://api.replicate.com/v1", False),
        ("ftp://api.replicate.com/x", "https://api.replicate.com/v1", False),
        ("http://127.0.0.1:9/x", "http://127.0.0.1:8/v1", True),
        ("https://stream.replicate.com/x", "http://127.0.0.1:8/v1", False),
        ("http://127.0.0.2/x", "http://127.0.0.1:8/v1", False),
    ],
)
def test_the_key_is_sent_to_the_platforms_own_hosts_alone(url: str, base: str, same: bool) -> None:
    assert same_site(url, base) is same
