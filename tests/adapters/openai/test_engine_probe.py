"""Which engine stands behind a backend of kind openai, how busy it is and how much it takes."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from adapters.errors import FailureClass
from adapters.openai.backend import OpenAICompatible
from adapters.types import Call, Probe
from gateway.clock import FakeClock
from tests.adapters.openai.engine_servers import (
    GET_LOAD,
    INFO,
    LLAMACPP,
    LOADS,
    PROPS,
    PYTHON,
    SGLANG,
    SLOTS,
    TGI,
    VLLM,
    EngineServer,
    Pages,
    engine,
)
from tests.adapters.openai.test_backend import error_of
from tests.adapters.servers import answer, chunked, drive, scripted

CALL = Call(id="c1", model="m", task="chat", body=b"{}", deadline=1e9)


@pytest.mark.parametrize(
    ("pages", "found", "slots"),
    [
        ({"/metrics": VLLM}, Probe(ready=True, running=3, queued=4, detail="vllm"), None),
        ({"/load": {"server_load": 2}}, Probe(ready=True, running=2, detail="vllm"), None),
        (
            {"/v1/loads?include=core": LOADS, "/metrics": SGLANG},
            Probe(ready=True, running=4, queued=5, detail="sglang"),
            96,
        ),
        ({"/metrics": SGLANG}, Probe(ready=True, running=4, queued=5, detail="sglang"), None),
        ({"/get_load": GET_LOAD}, Probe(ready=True, running=3, queued=5, detail="sglang"), None),
        (
            {"/metrics": TGI, "/info": INFO},
            Probe(ready=True, running=8, queued=3, detail="tgi"),
            128,
        ),
        ({"/info": INFO}, Probe(ready=True, detail="tgi"), 128),
        (
            {"/props": PROPS, "/metrics": LLAMACPP},
            Probe(ready=True, running=1, queued=2, detail="llamacpp"),
            4,
        ),
        ({"/props": PROPS}, Probe(ready=True, detail="llamacpp"), 4),
        ({"/openapi.json": PYTHON}, Probe(ready=True, detail="llamacpp"), 1),
    ],
)
async def test_an_engine_is_found_by_what_it_answers(
    clock: FakeClock, pages: Pages, found: Probe, slots: int | None
) -> None:
    async with engine(clock, EngineServer(pages)) as backend:
        probe = await backend.probe()
        warm = None if "/props" not in pages else 1
        if "/metrics" in pages and found.detail == "vllm":
            warm = 1
        assert probe == Probe(
            ready=True,
            warm_workers=warm,
            running=found.running,
            counts_all=found.running is not None,
            queued=found.queued,
            detail=found.detail,
        )
        assert backend.slots == slots


async def test_an_engine_is_looked_for_once_and_then_asked_what_it_answers(
    clock: FakeClock,
) -> None:
    server = EngineServer({"/load": {"server_load": 2}})
    async with engine(clock, server) as backend:
        await backend.probe()
        assert len(server.asked) > 4
        server.asked.clear()
        await backend.probe()
        assert server.asked == ["/health", "/metrics", "/load"]


async def test_a_server_that_is_no_engine_is_asked_once_and_never_again(clock: FakeClock) -> None:
    server = EngineServer({})
    async with engine(clock, server) as backend:
        assert await backend.probe() == Probe(ready=True)
        assert len(server.asked) == len(set(server.asked)) < 10
        server.asked.clear()
        assert await backend.probe() == Probe(ready=True)
        assert server.asked == ["/health"]
        assert backend.slots is None


async def test_no_engine_means_no_question_but_whether_it_is_up(clock: FakeClock) -> None:
    server = EngineServer({"/metrics": VLLM})
    async with engine(clock, server, engine="none") as backend:
        assert await backend.probe() == Probe(ready=True)
    assert server.asked == ["/health"]


async def test_a_named_engine_is_asked_without_being_looked_for(clock: FakeClock) -> None:
    server = EngineServer({"/metrics": TGI, "/info": INFO})
    async with engine(clock, server, engine="tgi") as backend:
        assert (await backend.probe()).queued == 3
    assert server.asked == ["/health", "/metrics", "/info"]


async def test_a_named_engine_that_says_nothing_is_ready_all_the_same(clock: FakeClock) -> None:
    async with engine(clock, EngineServer({}), engine="vllm") as backend:
        for _ in range(2):
            probe = await backend.probe()
            assert probe.ready
            assert probe.detail == "vllm: nothing of its load was read"


async def test_another_engine_in_the_old_ones_place_is_found(clock: FakeClock) -> None:
    server = EngineServer({"/metrics": VLLM})
    async with engine(clock, server) as backend:
        assert (await backend.probe()).detail == "vllm"
        server.pages = {"/props": PROPS}
        await backend.probe()
        assert (await backend.probe()).detail == "llamacpp"


async def test_a_server_that_was_away_is_looked_at_anew(clock: FakeClock) -> None:
    server = EngineServer({})
    async with engine(clock, server) as backend:
        await backend.probe()
        server.health = answer(b"", 503)
        assert not (await backend.probe()).ready
        server.health, server.pages = answer(b""), {"/metrics": VLLM}
        assert (await backend.probe()).detail == "vllm"


async def test_a_server_that_holds_a_question_it_does_not_know_is_ready_two_seconds_later(
    clock: FakeClock,
) -> None:
    server = EngineServer({"/load": {"server_load": 2}})
    server.silent = {"/metrics"}
    async with engine(clock, server) as backend:
        started = clock.monotonic()
        assert await drive(clock, backend.probe()) == Probe(ready=True)
        assert clock.monotonic() - started < 2.3
        assert await backend.probe() == Probe(ready=True)


async def test_an_engine_without_a_health_page_is_found_behind_its_models(
    clock: FakeClock,
) -> None:
    server = EngineServer({"/openapi.json": PYTHON}, healthy=False)
    async with engine(clock, server) as backend:
        assert (await backend.probe()).detail == "llamacpp"
        assert server.asked[:2] == ["/health", "/v1/models"]


async def test_an_engine_that_loads_says_so(clock: FakeClock) -> None:
    server = EngineServer({})
    error = {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}
    server.health = answer(error, 503)
    async with engine(clock, server) as backend:
        probe = await backend.probe()
    assert probe == Probe(ready=False, detail="/health answers 503: Loading model")


# --- llama.cpp, whose questions can wake it -----------------------------------------------------


async def test_a_llamacpp_that_names_itself_is_asked_nothing_that_keeps_it_awake(
    clock: FakeClock,
) -> None:
    server = EngineServer({"/props": PROPS, "/slots": SLOTS}, server="llama.cpp")
    async with engine(clock, server) as backend:
        await backend.probe()
    assert server.asked == ["/health", "/props", "/metrics"]


async def test_the_slots_of_a_llamacpp_are_looked_at_while_a_call_of_ours_runs(
    clock: FakeClock,
) -> None:
    server = EngineServer({"/props": PROPS, "/slots": SLOTS}, server="llama.cpp")
    server.silent = {"/v1/chat/completions"}
    async with engine(clock, server) as backend:
        call = asyncio.ensure_future(backend.invoke(CALL))
        while "/v1/chat/completions" not in server.asked:
            await clock.advance(0.01)
        assert (await backend.probe()).running == 1
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call


async def test_a_llamacpp_that_sleeps_is_cold(clock: FakeClock) -> None:
    server = EngineServer({"/props": {**PROPS, "is_sleeping": True}}, server="llama.cpp")
    async with engine(clock, server) as backend:
        probe = await backend.probe()
    assert probe == Probe(ready=False, warm_workers=0, detail="llamacpp, asleep")


# --- how much may be sent there -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("pages", "queues"),
    [
        ({"/openapi.json": PYTHON}, False),
        ({"/info": INFO}, False),
        ({"/props": PROPS}, True),
        ({"/metrics": VLLM}, True),
        ({}, True),
    ],
)
async def test_whether_more_calls_than_it_runs_may_wait_there_is_told(
    clock: FakeClock, pages: Pages, queues: bool
) -> None:
    async with engine(clock, EngineServer(pages)) as backend:
        assert backend.capabilities.queues
        tasks = backend.capabilities.tasks
        await backend.probe()
        assert backend.capabilities.queues is queues
        assert backend.capabilities.tasks == tasks >= {"chat", "completions", "embeddings"}


FULL: dict[str, dict[str, Any]] = {
    "sglang": {"object": "error", "message": "The request queue is full.", "code": 503},
    "tgi": {"error": "Model is overloaded", "error_type": "overloaded"},
    "vllm": {"error": {"message": "Server overloaded", "type": "ServiceUnavailable", "code": 503}},
}


@pytest.mark.parametrize("name", FULL)
@pytest.mark.parametrize("status", [429, 503])
async def test_a_full_queue_is_a_matter_of_capacity(
    clock: FakeClock, name: str, status: int
) -> None:
    error = await error_of(clock, answer(FULL[name], status, Retry_After="7"))
    assert (error.failure, error.retry_after) == (FailureClass.OVERLOADED, 7.0)


@pytest.mark.parametrize("name", FULL)
async def test_a_full_queue_is_one_inside_a_stream_that_began_with_200(
    clock: FakeClock, name: str
) -> None:
    event = b"data: " + json.dumps(FULL[name]).encode() + b"\n\n"
    error = await error_of(clock, chunked(event), stream=True)
    assert error.failure is FailureClass.OVERLOADED


async def test_a_code_beside_the_error_counts_too(clock: FakeClock) -> None:
    event = b'data: {"error":{"message":"The request queue is full."},"code":503}\n\n'
    assert (await error_of(clock, chunked(event), stream=True)).failure is FailureClass.OVERLOADED


async def test_an_empty_error_is_none(clock: FakeClock) -> None:
    delta = b'data: {"choices":[{"delta":{"content":"hi"}}],"error":""}\n\n'
    async with scripted(chunked(delta, b"data: [DONE]\n\n")) as (_, url):
        backend = OpenAICompatible("up", OpenAICompatible.Settings(base_url=url), clock)
        await backend.start()
        try:
            reply = await backend.invoke(
                Call(id="c1", model="m", task="chat", body=b"{}", stream=True)
            )
            assert reply.chunks is not None
            assert [chunk.kind async for chunk in reply.chunks] == ["data", "done"]
        finally:
            await backend.aclose()
