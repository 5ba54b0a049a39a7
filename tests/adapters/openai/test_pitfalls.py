"""What is known to go wrong with servers that speak OpenAI's protocol, one test each."""

from __future__ import annotations

import json

import httpx
import openai
import pytest

from adapters.errors import BackendError, FailureClass, Ran
from gateway.clock import FakeClock
from tests.adapters.openai.test_backend import (
    DELTA,
    DONE,
    FINISH,
    KEY,
    WHOLE,
    a_call,
    error_of,
    read_all,
    upstream,
)
from tests.adapters.servers import CUT, answer, chunked, scripted

COUNTS = b'"usage":{"prompt_tokens":3,"completion_tokens":2}'
ALONE = b'data: {"choices":[],' + COUNTS + b"}\n\n"
FINISHING = b'data: {"choices":[{"delta":{},"finish_reason":"stop"}],' + COUNTS + b"}\n\n"


def official_client(url: str) -> openai.AsyncOpenAI:
    http_client = httpx.AsyncClient(trust_env=False)
    return openai.AsyncOpenAI(
        base_url=url + "/v1", api_key=KEY, http_client=http_client, max_retries=0
    )


@pytest.mark.parametrize(
    ("events", "tokens"),
    [
        ((DELTA, FINISH, ALONE, DONE), (3, 2)),
        ((DELTA, FINISHING, DONE), (3, 2)),
        ((DELTA, FINISH, DONE), (None, None)),
    ],
    ids=["an-event-of-its-own", "on-the-finishing-event", "absent"],
)
async def test_usage_stands_in_either_of_two_places_or_nowhere(
    clock: FakeClock, events: tuple[bytes, ...], tokens: tuple[int | None, int | None]
) -> None:
    async with upstream(clock, chunked(*events)) as (backend, _):
        last = (await read_all(await backend.invoke(a_call(stream=True))))[-1]
    assert last.usage is not None
    assert (last.usage.input_tokens, last.usage.output_tokens) == tokens


async def test_changing_ids_null_fields_comments_and_event_lines_pass_untouched(
    clock: FakeClock,
) -> None:
    events = [
        b'event: x\nid: 1\ndata: {"id":"a","choices":[{"delta":{"role":null,"content":null}}]}\n\n',
        b": a comment while it thinks\n\n",
        b'data: {"id":"b","choices":[{"delta":{"content":"hi"},"finish_reason":null}]}\n\n',
        b'data: {"id":"c","choices":[{"delta":{},"finish_reason":"stop"}]}\n\n',
        DONE,
    ]
    async with upstream(clock, chunked(*events)) as (backend, _):
        chunks = await read_all(await backend.invoke(a_call(stream=True)))
    assert b"".join(chunk.data for chunk in chunks) == b"".join(events)
    assert chunks[-1].kind == "done"


async def test_a_clean_close_in_the_middle_is_an_end_for_the_official_client_and_a_cut_for_us(
    clock: FakeClock,
) -> None:
    async with scripted(chunked(DELTA)) as (_, url), official_client(url) as client:
        stream = await client.chat.completions.create(model="m", messages=[], stream=True)
        assert len([chunk async for chunk in stream]) == 1
    async with upstream(clock, chunked(DELTA)) as (backend, _):
        reply = await backend.invoke(a_call(stream=True))
        with pytest.raises(BackendError) as caught:
            await read_all(reply)
    assert caught.value.failure is FailureClass.TRUNCATED


async def test_an_error_in_a_stream_of_200_fails_the_call_before_its_first_event_and_cuts_it_after(
    clock: FakeClock,
) -> None:
    error = b'data: {"error":{"message":"engine died","type":"InternalServerError","code":500}}\n\n'
    assert (await error_of(clock, chunked(error, DONE), stream=True)).ran is Ran.MAYBE
    overload = b'data: {"error":{"message":"full","code":503}}\n\n'
    assert (await error_of(clock, chunked(overload, DONE), stream=True)).ran is Ran.NO
    async with upstream(clock, chunked(DELTA, overload, DONE)) as (backend, _):
        reply = await backend.invoke(a_call(stream=True))
        with pytest.raises(BackendError) as caught:
            await read_all(reply)
    assert (caught.value.failure, caught.value.ran) == (FailureClass.TRUNCATED, Ran.YES)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"error": {"message": "no", "type": "BadRequestError", "code": 400}}, "no"),
        ({"error": {"message": "no", "type": "invalid_request_error", "code": "bad"}}, "no"),
        ({"object": "error", "message": "no", "type": "BadRequestError", "code": 400}, "no"),
        ({"detail": "no"}, "no"),
        ({"detail": [{"loc": ["body", "messages"], "msg": "no"}]}, "messages: no"),
        ({"error": "no", "error_type": "validation"}, "no"),
    ],
)
async def test_an_error_is_read_whatever_its_code_is_and_wherever_it_stands(
    clock: FakeClock, body: dict[str, object], words: str
) -> None:
    error = await error_of(clock, answer(json.dumps(body).encode(), 400))
    assert (error.failure, error.message) == (FailureClass.INVALID, words)


async def test_an_empty_stream_is_a_failure_and_its_dead_connection_is_used_no_more(
    clock: FakeClock,
) -> None:
    """llama.cpp's bindings answer a prompt that is too long so, and then reset the connection."""
    async with upstream(clock, chunked() + CUT, answer(WHOLE)) as (backend, script):
        with pytest.raises(BackendError) as caught:
            await backend.invoke(a_call(stream=True))
        assert caught.value.failure is FailureClass.MALFORMED
        assert (await backend.invoke(a_call())).usage.output_tokens == 2
        assert len(script.requests) == 2
