"""Hugging Face's endpoints: scale to zero, three meanings of 503, the routes of their engines."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest

from adapters.errors import BackendError, FailureClass
from adapters.huggingface.backend import HuggingFace, HuggingFaceSettings
from adapters.settings import Secret
from adapters.types import Call, Task
from gateway.clock import FakeClock, SystemClock
from tests.adapters.huggingface.stage import endpoint_running, settings_for
from tests.adapters.scenarios import KEY
from tests.adapters.servers import STALL, Scripted, answer, chunked, drive, scripted
from tests.adapters.test_contract import whole
from tests.live import ROOT


def a_call(
    body: bytes = b'{"inputs":"x"}',
    *,
    stream: bool = False,
    task: Task = "infer",
    deadline: float = float("inf"),
) -> Call:
    return Call(id="c1", model="m", task=task, body=body, stream=stream, deadline=deadline)


def state(name: str, ready: int | None = None, target: int | None = None) -> bytes:
    status = {"state": name, "readyReplica": ready, "targetReplica": target}
    return answer({"status": status})


UNAVAILABLE = answer({"error": "503 Service Unavailable"}, 503)


@contextlib.asynccontextmanager
async def endpoint(
    clock: FakeClock, *answers: bytes, management: tuple[bytes, ...] | None = (), **settings: Any
) -> AsyncIterator[tuple[HuggingFace, Scripted, Scripted]]:
    """``management`` None: the backend has no name at the management API."""
    async with scripted(*answers) as (script, url), scripted(*(management or ())) as (api, at):
        given = {"engine": "tgi", "api_key": Secret(KEY), "base_url": url, **settings}
        if management is not None:
            given |= {"endpoint": "acme/minilm", "management_url": f"{at}/v2"}
        backend = HuggingFace("hf", HuggingFaceSettings(**given), clock)
        await backend.start()
        try:
            yield backend, script, api
        finally:
            await backend.aclose()


# --- at zero, loading, or full --------------------------------------------------------------------


async def test_a_call_asks_to_be_held_while_a_replica_boots(clock: FakeClock) -> None:
    """A little less long than its caller waits, so that another backend can still be asked."""
    answers = [answer({"generated_text": "x"})] * 3
    async with endpoint(clock, *answers, scale_up_wait=60.0) as (backend, script, _):
        now = clock.monotonic()
        for deadline in (float("inf"), now + 10.0, now + 1.5):
            await backend.invoke(a_call(deadline=deadline))
    held = [request.headers.get("x-scale-up-timeout") for request in script.requests]
    assert held == ["60", "9", None]


@pytest.mark.parametrize(
    ("told", "expected", "words"),
    [
        (state("scaledToZero", 0, 0), FailureClass.LOADING, "at zero"),
        (state("initializing", 0, 1), FailureClass.LOADING, "not up yet"),
        (state("pending"), FailureClass.LOADING, "not up yet"),
        (state("running", 0, 1), FailureClass.LOADING, "not up yet"),
        (state("running", 1, 1), FailureClass.OVERLOADED, "queue is full"),
        (state("running"), FailureClass.OVERLOADED, "queue is full"),
        (state("updating", 1, 1), FailureClass.OVERLOADED, "queue is full"),
        (state("paused", 0, 0), FailureClass.GONE, "paused"),
        (state("failed", 0, 0), FailureClass.GONE, "failed"),
        (answer({}, 500), FailureClass.OVERLOADED, "Unavailable"),
        (answer(b"no json"), FailureClass.OVERLOADED, "Unavailable"),
        (b"", FailureClass.OVERLOADED, "Unavailable"),
    ],
)
async def test_a_503_means_what_the_management_api_says(
    clock: FakeClock, told: bytes, expected: FailureClass, words: str
) -> None:
    async with endpoint(clock, UNAVAILABLE, management=(told,)) as (backend, _, api):
        with pytest.raises(BackendError) as caught:
            await backend.invoke(a_call())
        assert caught.value.failure is expected
        assert words in caught.value.message
        assert api.targets() == ["GET /v2/endpoint/acme/minilm"]


async def test_without_a_name_a_503_means_what_it_says_itself(clock: FakeClock) -> None:
    said = answer({"error": "the model is loading"}, 503)
    async with endpoint(clock, said, management=None) as (backend, _, _):
        with pytest.raises(BackendError) as caught:
            await backend.invoke(a_call())
        assert caught.value.failure is FailureClass.LOADING


async def test_many_503s_at_once_ask_the_management_api_once(clock: FakeClock) -> None:
    refusals = [answer({}, 503)] * 5
    async with endpoint(clock, *refusals, management=(state("running", 1),)) as (backend, _, api):
        calls = (backend.invoke(a_call()) for _ in range(5))
        errors = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(error) for error in errors} == {BackendError}
    assert len(api.requests) == 1


async def test_a_call_that_found_no_replica_says_how_long_the_start_took(clock: FakeClock) -> None:
    """On the platform of the tests, whose replica takes a moment to boot."""
    with endpoint_running(boot=0.6) as (platform, url):
        backend = HuggingFace("hf", HuggingFaceSettings(**settings_for(url)), SystemClock())
        await backend.start()
        try:
            warm = await backend.invoke(a_call())
            assert warm.usage.cold_s is None
            for stream in (False, True):
                platform.state = "scaledToZero"
                await backend.keep_workers(0)
                assert not (await backend.probe()).ready
                reply = await backend.invoke(a_call(stream=stream))
                used = reply.usage
                if reply.chunks is not None:
                    used = [c.usage async for c in reply.chunks if c.usage is not None][-1]
                assert used.cold_s is not None
                assert used.cold_s > 0.4
                assert used.exec_s is not None
                assert used.exec_s < used.cold_s
            assert platform.boots == 2
            await backend.keep_workers(0)
            assert (await backend.probe()).warm_workers == 1
        finally:
            await backend.aclose()


# --- replicas -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("told", "ready", "warm", "starting"),
    [
        (state("running", 2, 3), True, 2, 1),
        (state("running"), True, 1, 0),
        (state("updating", 1, 1), True, 1, 0),
        (state("updating"), False, 0, 1),
        (state("initializing", 0, 1), False, 0, 1),
        (state("scaledToZero", 0, 0), False, 0, 0),
        (state("paused", 0, 0), False, 0, 0),
        (answer({"status": {"state": "something-new"}}), False, 0, 0),
    ],
)
async def test_the_probe_asks_the_management_api_and_wakes_nothing(
    clock: FakeClock, told: bytes, ready: bool, warm: int, starting: int
) -> None:
    async with endpoint(clock, management=(told,)) as (backend, script, _):
        probe = await backend.probe()
        assert not script.requests
    assert (probe.ready, probe.warm_workers, probe.starting_workers) == (ready, warm, starting)


async def test_a_probe_without_a_name_asks_nobody(clock: FakeClock) -> None:
    async with endpoint(clock, management=None) as (backend, script, _):
        assert (await backend.probe()).ready
        assert not script.requests
        with pytest.raises(BackendError) as caught:
            await backend.keep_workers(1)
        assert caught.value.failure is FailureClass.UNSUPPORTED


async def test_what_is_assumed_is_put_to_the_test(clock: FakeClock) -> None:
    async with endpoint(clock, management=(state("running", 1, 1),)) as (backend, _, _):
        assert [one.holds for one in await backend.assumptions()] == [True, True]
    async with endpoint(clock, management=(state("running"),)) as (backend, _, _):
        assert [one.holds for one in await backend.assumptions()] == [True, False]
    async with endpoint(clock, management=(answer({}, 401), b"")) as (backend, _, _):
        assert [one.holds for one in await backend.assumptions()] == [False]
    async with endpoint(clock, management=None) as (backend, _, _):
        assert [one.holds for one in await backend.assumptions()] == [None, None]


async def test_a_management_api_that_is_silent_is_no_readiness(clock: FakeClock) -> None:
    async with endpoint(clock, management=(STALL,)) as (backend, _, _):
        assert not (await drive(clock, backend.probe())).ready


async def test_keeping_workers_sets_the_least_replicas(clock: FakeClock) -> None:
    told = (state("running", 1), answer({}), answer({}))
    async with endpoint(clock, management=told) as (backend, _, api):
        await backend.keep_workers(2)
        await backend.keep_workers(0)
    assert api.targets() == [
        "GET /v2/endpoint/acme/minilm",
        "PUT /v2/endpoint/acme/minilm",
        "PUT /v2/endpoint/acme/minilm",
    ]
    assert json.loads(api.requests[1].body) == {"compute": {"scaling": {"minReplica": 2}}}
    assert api.requests[1].headers["authorization"] == f"Bearer {KEY}"


async def test_an_endpoint_may_be_paused_for_none_and_is_resumed_for_some(clock: FakeClock) -> None:
    told = (answer({}), state("paused", 0), answer({}), answer({}))
    async with endpoint(clock, management=told, at_zero="pause") as (backend, _, api):
        await backend.keep_workers(0)
        await backend.keep_workers(1)
    assert [target.rpartition("minilm")[2] for target in api.targets()] == [
        "/pause",
        "",
        "/resume",
        "",
    ]


async def test_a_ping_wakes_a_replica_by_its_health(clock: FakeClock) -> None:
    async with endpoint(clock, answer(), management=(state("scaledToZero", 0),)) as parts:
        backend, script, _ = parts
        await backend.probe()
        usage = await backend.ping()
    assert script.targets() == ["GET /health"]
    assert script.requests[0].headers["x-scale-up-timeout"] == "300"
    assert usage.cold_s is not None


async def test_a_ping_resumes_a_paused_endpoint(clock: FakeClock) -> None:
    told = (state("paused", 0), answer({}), state("initializing", 0, 1))
    async with endpoint(clock, UNAVAILABLE, management=told) as (backend, _, api):
        with pytest.raises(BackendError) as caught:
            await backend.ping()
        assert caught.value.failure is FailureClass.LOADING
    assert api.targets()[1] == "POST /v2/endpoint/acme/minilm/resume"


# --- routes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("engine", "task", "stream", "target"),
    [
        ("openai", "chat", False, "/v1/chat/completions"),
        ("tgi", "chat", False, "/v1/chat/completions"),
        ("tgi", "infer", False, "/generate"),
        ("tgi", "infer", True, "/generate_stream"),
        ("tei", "infer", False, "/embed"),
        ("tei", "embeddings", False, "/v1/embeddings"),
        ("custom", "infer", False, "/"),
    ],
)
async def test_each_engine_has_its_routes(
    clock: FakeClock, engine: str, task: Task, stream: bool, target: str
) -> None:
    reply = answer(
        {"choices": [{"text": ""}], "data": [{"embedding": [0.5]}], "generated_text": "x"}
    )
    if stream:
        reply = chunked(b'data:{"generated_text":"x"}\n\n')
    odd = b'{ "inputs":"x", "unknown":[] }'
    async with endpoint(clock, reply, engine=engine) as (backend, script, _):
        await whole(await backend.invoke(a_call(odd, task=task, stream=stream)))
    assert script.targets() == [f"POST {target}"]
    assert script.requests[0].body == odd


@pytest.mark.parametrize(
    ("engine", "task"), [("tei", "chat"), ("custom", "chat"), ("openai", "infer")]
)
async def test_what_an_engine_has_no_route_for_is_unsupported(
    clock: FakeClock, engine: str, task: Task
) -> None:
    async with endpoint(clock, engine=engine) as (backend, script, _):
        with pytest.raises(BackendError) as caught:
            await backend.invoke(a_call(task=task))
        assert caught.value.failure is FailureClass.UNSUPPORTED
        assert task not in backend.capabilities.tasks
        assert not script.requests


async def test_the_tokens_that_tgi_counts_are_read(clock: FakeClock) -> None:
    whole_answer = answer([{"generated_text": "x", "details": {"generated_tokens": 7}}])
    stream = chunked(
        b'data:{"token":{},"generated_text":null}\n\ndata:{"token":{},"generated',
        b'_text":"xy","details":{"generated_tokens":2,"input_length":5}}\n\n',
    )
    async with endpoint(clock, whole_answer, stream) as (backend, _, _):
        assert (await backend.invoke(a_call())).usage.output_tokens == 7
        reply = await backend.invoke(a_call(stream=True))
        assert reply.chunks is not None
        chunks = [chunk async for chunk in reply.chunks]
    assert chunks[-1].usage is not None
    assert (chunks[-1].usage.input_tokens, chunks[-1].usage.output_tokens) == (5, 2)
    assert b"".join(chunk.data for chunk in chunks).count(b"data:") == 2


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ((), FailureClass.FAILED),
        ((b'data:{"generated_text":null}\n\n',), FailureClass.TRUNCATED),
        ((b'data:{"error":"no","error_type":"validation"}\n\n',), FailureClass.INVALID),
        ((b'data:{"error":"no","error_type":"overloaded"}\n\n',), FailureClass.OVERLOADED),
        ((b'data:{"error":"no","error_type":"generation"}\n\n',), FailureClass.FAILED),
        ((b"data:{no json\n\n",), FailureClass.FAILED),
        (
            (b'data:{"generated_text":null}\n\n', b'data:{"error":"no"}\n\n'),
            FailureClass.TRUNCATED,
        ),
    ],
)
async def test_a_stream_of_tokens_without_its_text_is_a_failure(
    clock: FakeClock, pieces: tuple[bytes, ...], expected: FailureClass
) -> None:
    async with endpoint(clock, chunked(*pieces)) as (backend, _, _):
        with pytest.raises(BackendError) as caught:
            await whole(await backend.invoke(a_call(stream=True)))
        assert caught.value.failure is expected


async def test_a_lost_answer_is_ambiguous_and_asked_for_no_second_time(clock: FakeClock) -> None:
    """No endpoint takes an idempotency key."""
    async with endpoint(clock, b"") as (backend, script, _):
        with pytest.raises(BackendError) as caught:
            await backend.invoke(a_call())
        assert caught.value.failure is FailureClass.AMBIGUOUS
        assert len(script.requests) == 1


def test_settings_that_cannot_work_are_refused() -> None:
    with pytest.raises(ValueError, match="URL"):
        HuggingFaceSettings(base_url="x", api_key=Secret("k"))


def test_the_genuine_clients_find_the_platform_that_they_know() -> None:
    with endpoint_running() as (_, url):
        done = subprocess.run(
            [sys.executable, "-m", "tests.adapters.huggingface.client"],
            cwd=ROOT,
            env={**os.environ, "HF_PLATFORM": url, "HF_KEY": KEY},
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "chat": ["hello", 1],
        "chat stream": "hello",
        "states": ["running", "paused", "initializing"],
        "min": 1,
        "zero": "scaledToZero",
        "wrong key": 401,
    }
