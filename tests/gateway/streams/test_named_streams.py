"""A stream that its caller has named is made once, and told whole each time it is asked for."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
from starlette.types import Message

from adapters.errors import BackendError, FailureClass
from adapters.types import Chunk
from gateway.app import web
from gateway.clock import FakeClock
from tests.gateway.asgi_parts import telling
from tests.gateway.batches.gateways import with_batches
from tests.gateway.jobs.gateways import POLICY, JobsGateway, with_jobs
from tests.waiting import until

KEY = {"Idempotency-Key": "8e03978e-40d5-43e8-bc93-6894a57f9324"}
BODY = {"model": "chat", "messages": [{"role": "user", "content": "?"}], "stream": True}
PIECES = (Chunk(b'data: {"a":1}\n\n'), Chunk(b'data: {"b":2}\n\n'))
DONE = Chunk(b"data: [DONE]\n\n", kind="done")
WHOLE = b'data: {"a":1}\n\ndata: {"b":2}\n\ndata: [DONE]\n\n'
CHATS = "/v1/chat/completions"


async def ask(
    gateway: JobsGateway, client: httpx.AsyncClient, body: object = BODY, path: str = CHATS
) -> httpx.Response:
    """Time goes by until it is answered."""
    asking = asyncio.ensure_future(client.post(path, json=body, headers=KEY))
    await gateway.until_done([asking], 0.25)
    return asking.result()


async def test_the_same_stream_is_made_once_and_told_from_its_start(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with with_jobs(tmp_path, clock) as gateway, gateway.client() as client:
        home = gateway.fake("home")
        home.runs_for = 2.0
        home.tell([*PIECES, DONE])
        asked = [
            asyncio.ensure_future(client.post(CHATS, json=BODY, headers=KEY)) for _ in range(3)
        ]
        await gateway.until_done(asked, 0.25)
        later = await ask(gateway, client)

        answers = [*(task.result() for task in asked), later]
        assert [(one.status_code, one.content) for one in answers] == [(200, WHOLE)] * 4
        assert len(home.calls) == 1
        assert [one.headers.get("idempotent-replayed") for one in answers].count(None) == 1
        assert len({one.headers["x-request-id"] for one in answers}) == 4


async def test_a_stream_is_there_after_a_restart(tmp_path: Path, clock: FakeClock) -> None:
    async with with_jobs(tmp_path, clock) as gateway:
        key = gateway.key()
        gateway.fake("home").tell([*PIECES, DONE])
        async with gateway.client(key) as client:
            await ask(gateway, client)
    async with with_jobs(tmp_path, clock) as gateway, gateway.client(key) as client:
        assert (await ask(gateway, client)).content == WHOLE
        assert gateway.fake("home").calls == []


async def test_another_body_under_the_name_is_a_conflict(tmp_path: Path, clock: FakeClock) -> None:
    async with with_jobs(tmp_path, clock) as gateway, gateway.client() as client:
        gateway.fake("home").tell([*PIECES, DONE])
        await ask(gateway, client)
        other = await ask(gateway, client, {**BODY, "temperature": 0.5})
        whole = await ask(gateway, client, {**BODY, "stream": False})

        codes = [(one.status_code, one.json()["error"]["code"]) for one in (other, whole)]
        assert codes == [(409, "idempotency_key_reused")] * 2
        assert len(gateway.fake("home").calls) == 1


async def test_a_stream_that_broke_is_told_as_it_broke_and_never_as_whole(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with with_jobs(tmp_path, clock) as gateway, gateway.client() as client:
        broken = BackendError(FailureClass.TRUNCATED, "The backend's stream broke off.")
        gateway.fake("home").tell([*PIECES, broken])
        said: list[Message] = []
        transport = httpx.ASGITransport(app=telling(web(gateway.inner), said))
        async with httpx.AsyncClient(
            transport=transport, base_url=client.base_url, headers=client.headers
        ) as listening:
            answers = [await ask(gateway, listening) for _ in range(2)]

        assert answers[0].content == answers[1].content
        assert answers[1].content.startswith(PIECES[0].data)
        assert b'"error"' in answers[1].content
        assert b"[DONE]" not in answers[1].content
        parts = [part for part in said if part["type"] == "http.response.body"]
        assert [part["more_body"] for part in parts if not part["more_body"]] == [None, None]
        assert len(gateway.fake("home").calls) == 1


async def test_whoever_hangs_up_finds_the_stream_when_it_comes_back(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with with_jobs(tmp_path, clock) as gateway, gateway.client() as client:
        gateway.fake("home").runs_for = 5.0
        gateway.fake("home").tell([*PIECES, DONE])
        asking = asyncio.ensure_future(client.post(CHATS, json=BODY, headers=KEY))
        await gateway.until_asked("home")
        asking.cancel()
        await asyncio.wait([asking])

        again = await ask(gateway, client)

        assert again.content == WHOLE
        [row] = await gateway.rows(gateway.fake("home").calls[0].id)
        assert row.outcome == "success"
        assert len(gateway.fake("home").calls) == 1


async def test_a_stream_that_a_shutdown_stops_before_its_first_byte_is_cut_and_no_answer(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with with_jobs(tmp_path, clock) as gateway, gateway.client() as client:
        gateway.fake("home").runs_for = 5.0
        asking = asyncio.ensure_future(client.post(CHATS, json=BODY, headers=KEY))
        await gateway.until_asked("home")
        stop_streams()
        await gateway.until_done([asking], 0.25)
        again = await ask(gateway, client)

        for answer in (asking.result(), again):
            assert (answer.status_code, answer.json()["error"]["code"]) == (502, "interrupted")
        assert len(gateway.fake("home").calls) == 1


async def test_a_stream_that_a_shutdown_stops_in_line_leaves_its_name_free(
    tmp_path: Path, clock: FakeClock
) -> None:
    one_at_once = POLICY.replace("slots: 1, price", "slots: 1, concurrency: 1, price")
    async with with_jobs(tmp_path, clock, text=one_at_once) as gateway, gateway.client() as client:
        home, queue = gateway.fake("home"), gateway.inner.active.backends["home"].queue
        home.runs_for = 5.0
        home.tell([*PIECES, DONE])
        before = asyncio.ensure_future(client.post(CHATS, json=BODY))
        await gateway.until_asked("home")
        asking = asyncio.ensure_future(client.post(CHATS, json=BODY, headers=KEY))
        await until(lambda: queue.waiting == 1, "it waits")
        stop_streams()
        await gateway.until_done([before, asking], 0.25)
        home.tell([*PIECES, DONE])
        again = await ask(gateway, client)

        stopped = asking.result()
        assert (stopped.status_code, stopped.json()["error"]["code"]) == (503, "shutting_down")
        assert again.content == WHOLE
        assert len(home.calls) == 2


def stop_streams() -> None:
    """As the end of a gateway does."""
    for task in asyncio.all_tasks():
        if "KeptStreams._ask" in repr(task.get_coro()):
            task.cancel()


async def test_a_call_that_failed_is_answered_by_its_failure_each_time(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with with_jobs(tmp_path, clock) as gateway, gateway.client() as client:
        gateway.fake("home").tell(BackendError(FailureClass.INVALID, "`x` is missing.", param="x"))
        answers = [await ask(gateway, client) for _ in range(2)]

        assert [one.status_code for one in answers] == [400, 400]
        assert answers[1].json()["error"]["param"] == "x"
        assert len(gateway.fake("home").calls) == 1


async def test_a_call_that_was_refused_may_be_sent_again(tmp_path: Path, clock: FakeClock) -> None:
    async with (
        with_jobs(tmp_path, clock, text=POLICY.replace("1000/minute", "1/minute")) as gateway,
        gateway.client(gateway.key(plan="default")) as client,
    ):
        await client.post(CHATS, json={**BODY, "stream": False})
        refused = await ask(gateway, client)
        await clock.advance(61)
        gateway.fake("home").tell([*PIECES, DONE])
        taken = await ask(gateway, client)

        assert (refused.status_code, taken.status_code) == (429, 200)
        assert taken.content == WHOLE


async def test_a_stream_that_waits_says_so(tmp_path: Path, clock: FakeClock) -> None:
    async with with_jobs(tmp_path, clock) as gateway, gateway.client() as client:
        gateway.fake("home").runs_for = 40.0
        gateway.fake("home").tell([*PIECES, DONE])
        answer = await ask(gateway, client)

        assert answer.content.startswith(b": waiting\n\n: waiting\n\n")
        assert answer.content.endswith(WHOLE)


async def test_an_empty_name_is_none(tmp_path: Path, clock: FakeClock) -> None:
    async with with_jobs(tmp_path, clock) as gateway, gateway.client() as client:
        answer = await client.post(CHATS, json=BODY, headers={"Idempotency-Key": ""})

        assert answer.status_code == 400
        assert answer.json()["error"]["param"] == "Idempotency-Key"


async def test_a_stream_that_names_no_file_is_refused_and_its_name_is_free(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with with_batches(tmp_path, clock) as gateway, gateway.client() as client:
        lost = {**BODY, "messages": [{"role": "user", "content": {"$file": "file_0"}}]}
        refused = await ask(gateway, client, lost)
        gateway.fake("home").tell([*PIECES, DONE])
        taken = await ask(gateway, client)

        assert (refused.status_code, refused.json()["error"]["code"]) == (404, "file_not_found")
        assert taken.content == WHOLE
