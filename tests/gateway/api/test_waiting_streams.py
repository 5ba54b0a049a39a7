"""A stream whose call waits says so, and no load balancer ends it; what fails after that has no
clean end."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest
from starlette.types import Message

from adapters.errors import BackendError, FailureClass
from adapters.fake import Outcome
from adapters.types import Chunk
from gateway.app import web
from gateway.clock import FakeClock
from tests.gateway.asgi_parts import telling
from tests.gateway.assembled import POLICY, AssembledGateway, assembled
from tests.waiting import until

ASKED = {"model": "home-only", "messages": [{"role": "user", "content": "hi"}], "stream": True}
PIECES = [
    Chunk(b'data: {"choices":[{"delta":{"content":"hi"}}]}\n\n'),
    Chunk(b"data: [DONE]\n\n", "done"),
]
ALONE = POLICY.replace("models:\n", "models:\n  home-only: {task: chat, backends: [home]}\n")
FAILS = BackendError(FailureClass.INVALID, "No such thing.")


async def answered(gateway: AssembledGateway, runs_for: float, outcome: Outcome) -> httpx.Response:
    """What a client of a stream gets that waits for so long."""
    gateway.fake("home").runs_for = runs_for
    gateway.fake("home").tell(outcome)
    async with gateway.client() as client:
        asking = asyncio.ensure_future(client.post("/v1/chat/completions", json=ASKED))
        await gateway.until_done([asking], 0.25)
        return asking.result()


async def test_who_waits_for_long_hears_that_the_line_lives(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, ALONE) as gateway:
        answer = await answered(gateway, 40.0, PIECES)
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.text.startswith(": waiting\n\n: waiting\n\ndata: ")
        assert answer.text.endswith("data: [DONE]\n\n")


async def comments(gateway: AssembledGateway, calls: int, progress: str) -> list[str]:
    """What the last of so many calls at one slot hears of its wait, each of which runs for 20 s."""
    gateway.fake("home").runs_for = 20.0
    gateway.fake("home").tell(*([PIECES] * calls))
    async with gateway.client() as client:
        headers = {"X-Spillgate-Progress": progress}
        asking = []
        for number in range(calls):
            post = client.post("/v1/chat/completions", json=ASKED, headers=headers)
            asking.append(asyncio.ensure_future(post))
            await until(lambda n=number: in_all(gateway) > n, "it is in line")  # type: ignore[misc]
        await gateway.until_done(asking, 0.25)
        lines = asking[-1].result().text.splitlines()
        return [line for line in lines if line.startswith(":")]


def in_all(gateway: AssembledGateway) -> int:
    return gateway.inner.active.backends["home"].in_flight


async def test_who_asks_for_it_is_told_its_place_in_line_and_when_it_should_begin(
    tmp_path: Path, clock: FakeClock
) -> None:
    one_slot = ALONE.replace("kind: fake, slots: 2", "kind: fake, slots: 1, concurrency: 1")
    async with assembled(
        tmp_path, clock, one_slot.replace("expect: 1s}", "expect: 20s}")
    ) as gateway:
        told = await comments(gateway, 3, "true")
        assert [line.partition(".")[0] for line in told[:2]] == [
            ": waiting position=1 start_in=25",
            ": waiting position=0 start_in=10",
        ]
        assert told[-1].startswith(": running for=")


async def test_what_is_left_of_a_wait_counts_down_where_nothing_was_learned(
    tmp_path: Path, clock: FakeClock
) -> None:
    """An instant is foreseen, and foreseen anew once it has passed."""
    one_slot = ALONE.replace("kind: fake, slots: 2", "kind: fake, slots: 1, concurrency: 1")
    text = one_slot.replace("access_log: false", "access_log: false, stream_comment: 2s")
    async with assembled(tmp_path, clock, text.replace("expect: 1s}", "expect: 9s}")) as gateway:
        told = [line for line in await comments(gateway, 2, "true") if "start_in" in line]
        left = [float(line.rpartition("=")[2]) for line in told]
        assert left[:4] == sorted(left[:4], reverse=True)
        assert min(left) > 0.0


async def test_who_does_not_ask_is_told_that_it_waits(tmp_path: Path, clock: FakeClock) -> None:
    async with assembled(tmp_path, clock, ALONE) as gateway:
        assert set(await comments(gateway, 1, "false")) == {": waiting"}


async def test_a_wish_for_progress_that_cannot_be_read_is_refused(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, ALONE) as gateway, gateway.client() as client:
        headers = {"X-Spillgate-Progress": "loud"}
        answer = await client.post("/v1/chat/completions", json=ASKED, headers=headers)
        assert answer.status_code == 400
        assert answer.json()["error"]["param"] == "X-Spillgate-Progress"


async def test_who_is_answered_soon_hears_nothing_of_it(tmp_path: Path, clock: FakeClock) -> None:
    async with assembled(tmp_path, clock, ALONE) as gateway:
        answer = await answered(gateway, 5.0, PIECES)
        assert ": waiting" not in answer.text
        assert answer.headers["x-spillgate-backend"] == "home"


async def test_a_failure_after_that_is_an_error_event_and_no_end(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, ALONE) as gateway:
        answer = await answered(gateway, 20.0, FAILS)
        assert (answer.status_code, "[DONE]" in answer.text) == (200, False)
        assert "No such thing." in answer.text.rpartition("data: ")[2]


@pytest.mark.parametrize(
    ("text", "runs_for"),
    [
        pytest.param(ALONE, 5.0, id="it fails before anything was said"),
        pytest.param(
            ALONE.replace("access_log: false", "access_log: false, stream_comment: 0s"),
            20.0,
            id="nothing is said by the policy",
        ),
    ],
)
async def test_a_failure_before_that_has_a_status_of_its_own(
    text: str, runs_for: float, tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, text) as gateway:
        answer = await answered(gateway, runs_for, FAILS)
        assert (answer.status_code, answer.json()["error"]["message"]) == (400, "No such thing.")


BREAKS = [PIECES[0], BackendError(FailureClass.TRUNCATED, "It broke off.")]
CUTS = [
    pytest.param(20.0, FAILS, id="it fails after its caller has waited"),
    pytest.param(1.0, BREAKS, id="it breaks off behind its first piece"),
    pytest.param(20.0, BREAKS, id="it breaks off, and its caller had waited"),
]


@pytest.mark.parametrize(("runs_for", "outcome"), CUTS)
async def test_a_cut_stream_has_an_error_and_no_end_of_its_body(
    runs_for: float, outcome: Outcome, tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, ALONE) as gateway:
        last = await last_part(gateway, runs_for, outcome)
        assert last["more_body"] is None
        assert b'"error"' in last["body"]
        assert b"[DONE]" not in last["body"]


async def test_a_stream_that_is_whole_ends_its_body(tmp_path: Path, clock: FakeClock) -> None:
    async with assembled(tmp_path, clock, ALONE) as gateway:
        last = await last_part(gateway, 20.0, PIECES)
        assert last["more_body"] is False
        assert last["body"].endswith(b"[DONE]\n\n")


async def last_part(gateway: AssembledGateway, runs_for: float, outcome: Outcome) -> Message:
    """What the server is told of the answer's end."""
    said: list[Message] = []
    gateway.fake("home").runs_for = runs_for
    gateway.fake("home").tell(outcome)
    transport = httpx.ASGITransport(app=telling(web(gateway.inner), said))
    key = {"Authorization": f"Bearer {gateway.key()}"}
    async with httpx.AsyncClient(
        transport=transport, base_url="http://gateway", headers=key
    ) as client:
        asking = asyncio.ensure_future(client.post("/v1/chat/completions", json=ASKED))
        await gateway.until_done([asking], 0.25)
    assert not said[-1].get("more_body", False)
    return said[-1]
