"""Vercel's AI Gateway: what a call cost, from its answer or looked up within a bound."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest

from adapters.errors import BackendError, FailureClass
from adapters.settings import Secret
from adapters.types import Call, Task, Usage
from adapters.vercel.backend import Vercel, VercelSettings
from adapters.vercel.cost import cost_in
from gateway.clock import FakeClock, SystemClock
from tests.adapters.scenarios import KEY
from tests.adapters.servers import STALL, Scripted, answer, chunked, drive, scripted
from tests.adapters.test_contract import whole
from tests.adapters.vercel.platform import GENERATION
from tests.adapters.vercel.stage import gateway_running


def a_call(
    body: bytes = b'{"model":"acme/m"}', *, stream: bool = False, task: Task = "chat"
) -> Call:
    return Call(id="c1", model="m", task=task, body=body, stream=stream)


def told(**usage: Any) -> bytes:
    return answer(
        {"id": GENERATION, "choices": [{"text": ""}], "usage": {"prompt_tokens": 3, **usage}}
    )


def known(cost: Any) -> bytes:
    return answer({"data": {"id": GENERATION, "total_cost": cost}})


UNKNOWN = answer({"error": {"message": "not found", "type": "not_found"}}, 404)


@contextlib.asynccontextmanager
async def gateway(
    clock: FakeClock, *answers: bytes, **settings: Any
) -> AsyncIterator[tuple[Vercel, Scripted]]:
    async with scripted(*answers) as (script, url):
        given = {"base_url": f"{url}/v1", "api_key": Secret(KEY), **settings}
        backend = Vercel("v", VercelSettings(**given), clock)
        await backend.start()
        try:
            yield backend, script
        finally:
            await backend.aclose()


async def used(clock: FakeClock, *answers: bytes, **settings: Any) -> tuple[Usage, list[str]]:
    async with gateway(clock, *answers, **settings) as (backend, script):
        reply = await drive(clock, backend.invoke(a_call()), step=0.01)
        return reply.usage, script.targets()


# --- what it cost -------------------------------------------------------------------------------


async def test_a_cost_that_the_answer_states_is_the_calls(clock: FakeClock) -> None:
    usage, targets = await used(clock, told(cost=0.000573, is_byok=False))
    assert usage.cost_nano == 573_000
    assert usage.input_tokens == 3
    assert targets == ["POST /v1/chat/completions"]


async def test_a_cost_that_it_does_not_state_is_looked_up_until_it_is_known(
    clock: FakeClock,
) -> None:
    usage, targets = await used(clock, told(), UNKNOWN, UNKNOWN, known(0.000573))
    assert usage.cost_nano == 573_000
    assert targets[1:] == [f"GET /v1/generation?id={GENERATION}"] * 3


@pytest.mark.parametrize(
    "answers",
    [
        [UNKNOWN] * 50,
        [STALL],
        [b""],
        [answer({}, 500)],
        [known(None)],
        [answer(b"no json")],
    ],
)
async def test_a_look_up_delays_no_answer_past_its_bound(
    clock: FakeClock, answers: list[bytes]
) -> None:
    """Where it brings nothing, the price of the policy is the estimate."""
    async with gateway(clock, told(), *answers, cost_wait=0.5) as (backend, _):
        began = clock.monotonic()
        reply = await drive(clock, backend.invoke(a_call()), step=0.01)
        assert reply.usage.cost_nano is None
        assert clock.monotonic() - began <= 0.7


@pytest.mark.parametrize("reply", [told(), answer({"id": "chatcmpl-1", "choices": [{"text": ""}]})])
async def test_nothing_is_looked_up_that_is_not_to_be_or_has_no_name(
    clock: FakeClock, reply: bytes
) -> None:
    waits = 0.5 if b"chatcmpl" in reply else 0.0
    usage, targets = await used(clock, reply, cost_wait=waits)
    assert usage.cost_nano is None
    assert len(targets) == 1


@pytest.mark.parametrize(
    ("said", "nano"),
    [
        ({"usage": {"cost": "0.000573"}}, 573_000),
        ({"usage": {"cost": 0}}, 0),
        ({"usage": {"cost": -1}}, None),
        ({"usage": {"cost": True}}, None),
        ({"usage": {"cost": "much"}}, None),
        ({"usage": {"cost": "NaN"}}, None),
        ({"usage": {"cost": 1e30}}, None),
        ({"usage": {"cost": [1]}}, None),
        ({"usage": {"cost": 0, "is_byok": True}}, None),
        (
            {
                "usage": {
                    "cost": 0.001,
                    "is_byok": True,
                    "cost_details": {"upstream_inference_cost": 0.002},
                }
            },
            3_000_000,
        ),
        (
            {"data": {"total_cost": 0, "is_byok": True, "upstream_inference_cost": 0.5}},
            500_000_000,
        ),
        ([1], None),
    ],
)
def test_only_a_figure_that_can_be_a_cost_is_one(said: Any, nano: int | None) -> None:
    assert cost_in(json.dumps(said).encode()).cost_nano == nano


@pytest.mark.parametrize("name", ["gen_../credits", "gen_a b", "gen_", "chatcmpl-1", 7])
def test_a_name_that_is_no_generations_is_never_put_in_a_path(name: Any) -> None:
    assert cost_in(json.dumps({"id": name}).encode()).generation is None


# --- streams ------------------------------------------------------------------------------------


def event(**more: Any) -> bytes:
    return b"data: %b\n\n" % json.dumps({"id": GENERATION, **more}).encode()


BEGUN = event(choices=[{"delta": {"content": "a"}, "finish_reason": None}])
ENDED = {"choices": [{"delta": {}, "finish_reason": "stop"}]}
DONE = b"data: [DONE]\n\n"


async def streamed(clock: FakeClock, *answers: bytes, **settings: Any) -> tuple[Usage, int]:
    """What the last chunk says, and how many requests there were."""
    async with gateway(clock, *answers, **settings) as (backend, script):
        reply = await backend.invoke(a_call(stream=True))
        assert reply.chunks is not None
        usages = []
        while (chunk := await drive(clock, anext(reply.chunks, None), step=0.01)) is not None:
            usages.append(chunk.usage)
        assert usages[-1] is not None
        return usages[-1], len(script.requests)


async def test_the_cost_of_a_stream_stands_on_its_finishing_event(
    clock: FakeClock,
) -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 1, "cost": 0.002}
    stream = chunked(BEGUN, event(**ENDED, usage=usage), DONE)
    last, requests = await streamed(clock, stream)
    assert (last.cost_nano, last.output_tokens, requests) == (2_000_000, 1, 1)


async def test_ids_may_change_and_roles_be_null_and_comments_stand_between(
    clock: FakeClock,
) -> None:
    odd = (
        b": keep-alive\n\n",
        b'event: x\ndata: {"id":"a","choices":[{"delta":{"role":null,"content":null}}]}\n\n',
        b'data: {"id":"b","choices":[{"delta":{"content":"hi"},"finish_reason":null}]}\n\n',
        b": again\n\n",
        b'data: {"id":"c","choices":[{"delta":{},"finish_reason":"stop"}]}\n\n',
    )
    async with gateway(clock, chunked(*odd, DONE)) as (backend, script):
        data = await whole(await backend.invoke(a_call(stream=True)))
        assert len(script.requests) == 1, "no id was a generation's"
    assert b'"hi"' in data
    assert data.endswith(DONE)


@pytest.mark.parametrize(
    ("reply", "expected", "words"),
    [
        (answer({"error": {"message": "a", "code": 429}}, 429), FailureClass.OVERLOADED, "a"),
        (answer({"error": {"message": "b", "code": "429"}}), FailureClass.OVERLOADED, "b"),
        (answer({"error": {"message": "c", "code": "overloaded"}}), FailureClass.OVERLOADED, "c"),
        (answer({"detail": "d"}, 422), FailureClass.INVALID, "d"),
        (answer({"error": "e"}, 400), FailureClass.INVALID, "e"),
    ],
)
async def test_an_errors_code_may_be_a_number_or_a_word_and_stand_elsewhere(
    clock: FakeClock, reply: bytes, expected: FailureClass, words: str
) -> None:
    async with gateway(clock, reply) as (backend, _):
        with pytest.raises(BackendError) as caught:
            await backend.invoke(a_call())
    assert (caught.value.failure, caught.value.message) == (expected, words)


async def test_a_stream_without_a_cost_is_looked_up_at_its_end(clock: FakeClock) -> None:
    last, requests = await streamed(
        clock, chunked(BEGUN, event(**ENDED), DONE), UNKNOWN, known(0.002)
    )
    assert (last.cost_nano, requests) == (2_000_000, 3)


async def test_a_stream_ends_without_a_cost_that_does_not_come(clock: FakeClock) -> None:
    last, _ = await streamed(clock, chunked(BEGUN, event(**ENDED), DONE), STALL)
    assert last.cost_nano is None


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ((BEGUN,), FailureClass.TRUNCATED),
        ((b'data: {"error": {"type": "authentication_error"}}\n\n',), FailureClass.CREDENTIAL),
        ((b'data: {"error": {"type": "not_found", "code": 404}}\n\n',), FailureClass.GONE),
        ((BEGUN, b'data: {"error": {"message": "boo"}}\n\n'), FailureClass.TRUNCATED),
        ((), FailureClass.MALFORMED),
    ],
)
async def test_an_end_that_is_none_is_a_failure(
    clock: FakeClock, pieces: tuple[bytes, ...], expected: FailureClass
) -> None:
    async with gateway(clock, chunked(*pieces)) as (backend, _):
        with pytest.raises(BackendError) as caught:
            await whole(await backend.invoke(a_call(stream=True)))
        assert caught.value.failure is expected


# --- what is sent -------------------------------------------------------------------------------


async def test_the_callers_own_options_pass_and_others_are_the_policys(clock: FakeClock) -> None:
    own = b'{"model":"acme/m","providerOptions":{"gateway":{"only":["x"]}}}'
    options = {"order": ["bedrock"], "tags": ["search"]}
    answers = [told(cost=0)] * 2
    async with gateway(clock, *answers, options=options, team="t1") as (backend, script):
        await backend.invoke(a_call(own))
        await backend.invoke(a_call())
    assert script.requests[0].body == own
    assert json.loads(script.requests[1].body) == {
        "model": "acme/m",
        "providerOptions": {"gateway": options},
    }
    assert script.requests[1].headers["x-vercel-ai-gateway-team"] == "t1"
    assert script.requests[1].headers["authorization"] == f"Bearer {KEY}"


async def test_there_are_no_completions_and_no_infer(clock: FakeClock) -> None:
    async with gateway(clock) as (backend, script):
        assert backend.capabilities.tasks == {"chat", "embeddings"}
        for task in ("completions", "infer"):
            with pytest.raises(BackendError) as caught:
                await backend.invoke(a_call(task=task))
            assert caught.value.failure is FailureClass.UNSUPPORTED
        assert not script.requests


@pytest.mark.parametrize(
    ("credits", "ready", "detail"),
    [
        (answer({"balance": "95.50"}), True, ""),
        (answer({"balance": "0"}), True, "no credit"),
        (answer(b"no json"), True, ""),
        (answer({}, 401), False, "401"),
        (b"", False, ""),
    ],
)
async def test_the_probe_asks_for_the_credits(
    clock: FakeClock, credits: bytes, ready: bool, detail: str
) -> None:
    async with gateway(clock, credits) as (backend, script):
        probe = await backend.probe()
    assert script.targets() == ["GET /v1/credits"]
    assert probe.ready is ready
    assert detail in probe.detail


async def test_what_is_assumed_is_put_to_the_test(clock: FakeClock) -> None:
    asked = (answer({"balance": "95.50"}), UNKNOWN, answer({}, 401), b"")
    async with gateway(clock, *asked) as (backend, _):
        good = await backend.assumptions()
        bad = await backend.assumptions()
    assert [one.holds for one in good] == [True, True]
    assert good[0].found == "95.50 USD"
    assert [one.holds for one in bad] == [False, None]


# --- the platform of the tests ------------------------------------------------------------------


async def test_the_genuine_client_finds_the_gateway_that_it_knows() -> None:
    with gateway_running() as (_, url):
        async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=KEY) as client:
            messages: Any = [{"role": "user", "content": "x"}]
            answered = await client.chat.completions.create(model="acme/m", messages=messages)
            assert answered.choices[0].message.content == "m"
            assert answered.model_dump()["usage"]["cost"] == 0.000573
            embedded = await client.embeddings.create(
                model="acme/m", input="x", encoding_format="float"
            )
            assert embedded.data[0].embedding == [0.5]
            with pytest.raises(openai.RateLimitError):
                await client.with_options(max_retries=0).chat.completions.create(
                    model="acme/status-429", messages=messages
                )


@pytest.mark.parametrize("stream", [False, True])
async def test_a_call_there_is_priced_whether_its_answer_says_it_or_not(stream: bool) -> None:
    with gateway_running() as (platform, url):
        settings = VercelSettings(base_url=f"{url}/v1", api_key=Secret(KEY), cost_wait=5.0)
        body = json.dumps({"model": "acme/m", "stream": stream}).encode()
        backend = Vercel("v", settings, SystemClock())
        await backend.start()
        try:
            for platform.silent in (False, True):
                reply = await backend.invoke(a_call(body, stream=stream))
                usage = reply.usage
                if reply.chunks is not None:
                    usage = [c.usage async for c in reply.chunks if c.usage is not None][-1]
                assert usage.cost_nano == 573_000
            assert platform.looked_up == 2
        finally:
            await backend.aclose()
