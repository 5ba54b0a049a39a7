"""Calls that go straight to a RunPod worker: a load balancer's, and vLLM's own route."""

from __future__ import annotations

import json
from typing import Any

import pytest

from adapters.errors import BackendError, FailureClass
from adapters.runpod.direct import BALANCER_LIMIT
from adapters.runpod.settings import RunPodSettings
from adapters.settings import Secret
from adapters.types import Call
from gateway.clock import FakeClock
from tests.adapters.runpod.platform import DONE, KEY, a_call, balanced, job, platform
from tests.adapters.servers import STALL, answer, chunked, drive

CHAT = {"choices": [{"message": {"content": "hi"}}]}
USED = {"prompt_tokens": 3, "completion_tokens": 2}
EVENTS = (
    b'data: {"choices":[{"delta":{"content":"hi"},"finish_reason":"stop"}]}\n\n',
    b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}\n\n',
    b"data: [DONE]\n\n",
)


def chat(*, stream: bool = False, **more: Any) -> Call:
    return a_call(b'{"model":"m"}', task="chat", stream=stream, **more)


async def refused(clock: FakeClock, reply: bytes) -> BackendError:
    async with balanced(clock, reply) as (backend, _):
        with pytest.raises(BackendError) as caught:
            await backend.invoke(chat())
        return caught.value


# --- vLLM's own route ---------------------------------------------------------------------------


async def test_openais_calls_go_to_the_workers_own_route_and_the_others_are_jobs(
    clock: FakeClock,
) -> None:
    answers = [answer({**CHAT, "usage": USED}), job(**DONE)]
    async with platform(clock, *answers, mode="openai") as (backend, script):
        reply = await backend.invoke(chat())
        await backend.invoke(a_call())
    assert script.targets() == [
        "POST /v2/ep/openai/v1/chat/completions",
        "POST /v2/ep/runsync?wait=5000",
    ]
    assert script.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert script.requests[0].body == b'{"model":"m"}'
    assert (reply.usage.input_tokens, reply.usage.output_tokens) == (3, 2)


async def test_a_stream_of_that_route_is_passed_on_as_it_comes(clock: FakeClock) -> None:
    async with platform(clock, chunked(*EVENTS), mode="openai") as (backend, script):
        reply = await backend.invoke(chat(stream=True))
        assert reply.chunks is not None
        chunks = [chunk async for chunk in reply.chunks]
    assert b"".join(chunk.data for chunk in chunks) == b"".join(EVENTS)
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.output_tokens == 2
    assert json.loads(script.requests[0].body)["stream_options"] == {"include_usage": True}


async def test_a_stream_of_that_route_that_is_cut_is_no_answer(clock: FakeClock) -> None:
    async with platform(clock, chunked(EVENTS[0], end=False), mode="openai") as (backend, _):
        reply = await backend.invoke(chat(stream=True, deadline=clock.monotonic() + 5.0))
        assert reply.chunks is not None

        async def rest() -> None:
            assert reply.chunks is not None
            async for _ in reply.chunks:
                pass

        with pytest.raises(BackendError):
            await drive(clock, rest())


def by_worker(reply: bytes, worker: str) -> bytes:
    """The same answer, in whose head its worker is named."""
    head, rest = reply.split(b"\r\n", 1)
    return b"%b\r\nX-Runpod-Worker-Id: %b\r\n%b" % (head, worker.encode(), rest)


@pytest.mark.parametrize("worker", ["w7", None])
async def test_a_stream_is_put_down_to_the_worker_that_its_head_names(
    clock: FakeClock, worker: str | None
) -> None:
    reply = chunked(*EVENTS)
    async with platform(
        clock, reply if worker is None else by_worker(reply, worker), mode="openai"
    ) as (backend, _):
        found = await backend.invoke(chat(stream=True))
        assert found.chunks is not None
        usages = [chunk.usage async for chunk in found.chunks if chunk.usage is not None]
    assert found.usage.worker == usages[-1].worker == worker
    assert usages[-1].output_tokens == 2


async def test_whole_answers_are_put_down_to_their_worker_as_well(clock: FakeClock) -> None:
    answers = [by_worker(answer({**CHAT, "usage": USED}), "w7"), by_worker(answer({}), "w8")]
    async with balanced(clock, *answers, infer_path="/generate") as (backend, _):
        replies = [await backend.invoke(chat()), await backend.invoke(a_call())]
    assert [reply.usage.worker for reply in replies] == ["w7", "w8"]
    assert replies[0].usage.output_tokens == 2


# --- a load balancer ----------------------------------------------------------------------------


def test_a_load_balancing_endpoint_has_a_host_of_its_own() -> None:
    settings = RunPodSettings(endpoint="abc", api_key=Secret("k"), mode="load_balancer")
    assert settings.balancer == "https://abc.api.runpod.ai"


async def test_a_call_goes_to_the_workers_path_with_the_callers_bytes_alone(
    clock: FakeClock,
) -> None:
    answers = [answer(CHAT), answer({"y": 2})]
    async with balanced(clock, *answers, infer_path="/generate") as (backend, script):
        await backend.invoke(chat())
        reply = await backend.invoke(a_call(b'{ "x":1.50 }'))
    assert script.targets() == ["POST /v1/chat/completions", "POST /generate"]
    assert script.requests[1].body == b'{ "x":1.50 }'
    assert reply.body == b'{"y":2}'


async def test_without_a_path_for_them_infer_calls_are_not_taken(clock: FakeClock) -> None:
    async with balanced(clock) as (backend, script):
        assert "infer" not in backend.capabilities.tasks
        with pytest.raises(BackendError) as caught:
            await backend.invoke(a_call())
        assert caught.value.failure is FailureClass.UNSUPPORTED
        assert not script.requests


async def test_a_body_may_have_thirty_megabytes(clock: FakeClock) -> None:
    async with balanced(clock) as (backend, _):
        assert backend.capabilities.max_request_bytes == BALANCER_LIMIT == 30_000_000


async def test_a_call_is_given_up_when_the_platform_ends_it(clock: FakeClock) -> None:
    """Five and a half minutes, however long the caller would wait."""
    began = clock.monotonic()
    async with balanced(clock, STALL, timeout=1000.0) as (backend, _):
        with pytest.raises(BackendError) as caught:
            await drive(clock, backend.invoke(chat()), step=1.0)
    assert caught.value.failure is FailureClass.TIMEOUT
    assert clock.monotonic() - began == pytest.approx(330.0, abs=2.0)


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (answer({"error": "no workers available"}, 503), FailureClass.OVERLOADED),
        (answer({"error": "No available workers"}, 400), FailureClass.OVERLOADED),
        (answer(b"bad gateway", 502, "text/plain"), FailureClass.UNREACHABLE),
        (answer({}, 502, X_Runpod_Worker_Id="w1"), FailureClass.FAILED),
        (answer({}, 504), FailureClass.TIMEOUT),
        (answer({"error": "bad"}, 400, X_Runpod_Worker_Id="w1"), FailureClass.INVALID),
        (answer({}, 401), FailureClass.CREDENTIAL),
    ],
)
async def test_what_came_before_any_worker_may_be_asked_of_another_backend(
    clock: FakeClock, reply: bytes, expected: FailureClass
) -> None:
    assert (await refused(clock, reply)).failure is expected


async def test_a_ping_waits_while_a_worker_is_starting(clock: FakeClock) -> None:
    """204 while it starts, 200 once it is ready: the time between is the cold start."""
    answers = [answer(b"", 204), answer(b"", 204), answer({}, X_Runpod_Worker_Id="w9")]
    async with balanced(clock, *answers) as (backend, script):
        usage = await drive(clock, backend.ping())
    assert script.targets() == ["GET /ping"] * 3
    assert usage.cold_s == pytest.approx(2.0, abs=0.2)
    assert (usage.exec_s, usage.worker) == (0.0, "w9")


async def test_a_ping_ends_where_no_worker_comes(clock: FakeClock) -> None:
    async with balanced(clock, *[answer(b"", 204)] * 8, timeout=5.0) as (backend, _):
        with pytest.raises(BackendError) as caught:
            await drive(clock, backend.ping())
    assert caught.value.failure is FailureClass.TIMEOUT


async def test_a_probe_asks_the_management_plane_and_wakes_no_worker(clock: FakeClock) -> None:
    summary = {"running": 1, "idle": 1, "initializing": 2, "total": 4}
    async with balanced(clock, answer({"workers": [], "summary": summary})) as (backend, script):
        probe = await backend.probe()
    assert script.targets() == ["GET /v2/serverless/ep/workers"]
    assert probe.ready
    assert (probe.warm_workers, probe.starting_workers) == (2, 2)


@pytest.mark.parametrize(
    ("summary", "most", "detail"),
    [({}, 0, "workers.max is 0"), ({"throttled": 1}, 3, "throttled"), ({}, 3, "")],
)
async def test_a_probe_without_workers_says_why_there_are_none(
    clock: FakeClock, summary: dict[str, int], most: int, detail: str
) -> None:
    answers = [answer({"summary": summary}), answer({"workers": {"max": most}})]
    async with balanced(clock, *answers) as (backend, _):
        probe = await backend.probe()
    assert not probe.ready
    assert detail in probe.detail


async def test_there_are_no_jobs_to_hand_over_or_to_cancel(clock: FakeClock) -> None:
    async with balanced(clock) as (backend, script):
        assert await backend.cancel("c1") is None
        with pytest.raises(BackendError) as caught:
            await backend.submit(a_call())
        assert caught.value.failure is FailureClass.UNSUPPORTED
        assert not script.requests
