"""Figures past all bounds, in a request, an answer, its usage or either's headers: never a fault of
the gateway, and what they would cost is bounded."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest

from adapters.routes import CALLERS_ROUTES
from adapters.types import Task
from gateway.clock import FakeClock
from tests.adapters.shapes.odd_figures import DIGITS, ODD, WORST, beside, fields_with
from tests.adapters.shapes.test_task_answers import GOOD
from tests.e2e.servers.faulty import FaultyServer
from tests.gateway.assembled import AssembledGateway, with_own_kinds
from tests.programs.faults.speech import Asked, answer

T = TypeVar("T")
ROUTES: dict[Task, str] = {task: route for route, task in CALLERS_ROUTES.items()}
CHAT = {"messages": [{"role": "user", "content": "hi"}]}
ASKS: dict[Task, dict[str, Any]] = {
    "chat": CHAT,
    "completions": {"prompt": "hi"},
    "embeddings": {"input": "hi"},
    "images": {"prompt": "a gate"},
    "rerank": {"query": "a", "documents": ["b"]},
    "score": {"text_1": "a", "text_2": "b"},
    "moderations": {"input": "hi"},
    "tokenize": {"prompt": "hi"},
    "speech": {"input": "hi", "voice": "v"},
    "messages": {**CHAT, "max_tokens": 9},
    "responses": {"input": "hi"},
}
FORMS: dict[Task, str] = {"image_edits": "image", "transcriptions": "file", "translations": "file"}
"""Task -> the field of its file."""
SERVED_AS: dict[Task, Task] = {
    "tokenize": "chat", "messages": "chat", "responses": "chat", "image_edits": "images",
    "translations": "transcriptions",
}  # fmt: skip
EACH: list[Task] = [*ASKS, *FORMS]
FIELDS = (
    "max_tokens", "max_completion_tokens", "max_output_tokens", "n", "temperature", "seed", "tools",
    "messages", "input", "prompt", "model", "metadata", "user", "response_format", "size", "top_n",
    "documents", "stop", "logprobs", "reasoning", "web_search_options", "x", "stream_options",
)  # fmt: skip
MOST_NANO = 100_000_000
POLICY = """
version: 1
server: {tls: "off", access_log: false}
tags: {take: [team], metadata: true, user_as: team}
backends:
  odd: {kind: openai, base_url: "%s", engine: none, price: all, timeout: 5s%s}
models:
%s
prices:
  all: {per_million_input: 1, per_million_output: 1, per_image: 0.01, per_audio_second: 0.001,
    as_of: 2026-11-01, source: test}
plans:
  default: {spend: 500 USD/month, tokens: 1000000/minute}
"""


class OddServer:
    """Says one thing to every call."""

    def __init__(self) -> None:
        self.status = 200
        self.says = b""
        self.head: tuple[str, ...] = ()

    async def play(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(self.status, self.says, *self.head))


class Stage:
    """A caller, the gateway, and that server."""

    def __init__(
        self, gateway: AssembledGateway, client: httpx.AsyncClient, server: OddServer
    ) -> None:
        self.gateway = gateway
        self.client = client
        self.server = server

    async def while_time_passes(self, asking: Coroutine[Any, Any, T]) -> T:
        """It may be asked once more after a wait."""
        task = asyncio.ensure_future(asking)
        await self.gateway.until_done([task], step=0.5)
        return task.result()

    async def ask(
        self, task: Task, field: bytes = b"", header: tuple[str, bytes] | None = None
    ) -> httpx.Response:
        """A call with one more field; a traceback of the application is raised here."""
        headers = {} if header is None else {header[0].encode(): header[1]}
        given = {"model": task, **ASKS.get(task, {"prompt": "a gate"})}
        if task in FORMS:
            files = {FORMS[task]: ("a.png", b"\x89PNG\r\n\x1a\n" + b"x" * 32)}
            name, _, value = field.decode().partition(": ")
            data = {**given, **({name.strip('"'): value} if field else {})}
            return await self.client.post(ROUTES[task], data=data, files=files, headers=headers)
        body = beside(given, field) if field else json.dumps(given).encode()
        headers[b"content-type"] = b"application/json"
        return await self.client.post(ROUTES[task], content=body, headers=headers)


@contextlib.asynccontextmanager
async def staged(folder: Path, clock: FakeClock, native: str = "") -> AsyncIterator[Stage]:
    server = OddServer()
    models = "".join(
        f"  {task}: {{task: {SERVED_AS.get(task, task)}, backends: [odd]}}\n" for task in EACH
    )
    async with FaultyServer(server.play) as faulty:
        text = POLICY % (faulty.url, native, models)
        async with with_own_kinds(folder, clock, text) as gateway, gateway.client() as client:
            yield Stage(gateway, client, server)


def good(task: Task) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in GOOD[task] if isinstance(one, dict))
    return found


@pytest.mark.parametrize("task", EACH)
async def test_an_answer_is_one_whatever_figures_stand_beside_it(
    task: Task, tmp_path: Path, clock: FakeClock
) -> None:
    async with staged(tmp_path, clock, ", native: [messages, responses]") as stage:
        for name in WORST:
            for field in fields_with(ODD[name]):
                stage.server.says = beside(good(task), field)
                told = await stage.ask(task)
                assert told.status_code == 200, (name, field[:40], told.text[:200])
                row = await stage.gateway.row(told.headers["x-request-id"])
                assert row.cost_nano <= MOST_NANO, (name, field[:40])


@pytest.mark.parametrize("task", ["messages", "responses"])
async def test_so_it_is_in_the_words_of_another_protocol(
    task: Task, tmp_path: Path, clock: FakeClock
) -> None:
    async with staged(tmp_path, clock) as stage:
        for name in WORST:
            for field in fields_with(ODD[name]):
                stage.server.says = beside(good("chat"), field)
                told = await stage.ask(task)
                assert told.status_code == 200, (name, field[:40], told.text[:200])


@pytest.mark.parametrize("task", EACH)
async def test_a_request_with_them_is_answered_or_refused(
    task: Task, tmp_path: Path, clock: FakeClock
) -> None:
    async with staged(tmp_path, clock, ", native: [messages, responses]") as stage:
        stage.server.says = json.dumps(good(task)).encode()
        for odd in (*(ODD[name] for name in WORST), b"[" * 980 + b"]" * 980, b"[" * 100_000):
            for field in FIELDS:
                told = await stage.ask(task, b'"%b": %b' % (field.encode(), odd))
                assert told.status_code < 500, (field, odd[:9], told.text[:200])


@pytest.mark.parametrize("status", [200, 429, 503])
@pytest.mark.parametrize("name", ["retry-after", "x-ratelimit-reset-requests", "date"])
async def test_headers_of_an_answer_decide_nothing_by_them(
    status: int, name: str, tmp_path: Path, clock: FakeClock
) -> None:
    async with staged(tmp_path, clock) as stage:
        stage.server.status, stage.server.says = status, json.dumps(good("chat")).encode()
        for value in (DIGITS.decode(), "-1", "1e999", "nan", "0." + DIGITS.decode()):
            stage.server.head = (f"{name}: {value}",)
            told = await stage.while_time_passes(stage.ask("chat"))
            assert status == 200 or told.json()["error"]["code"] != "internal_error"
            assert told.status_code == 200 or status > 200
            assert len(told.headers.get("retry-after", "")) < 9


@pytest.mark.parametrize("value", [DIGITS.decode(), "-1", "1e999", "nan", "\u0669"])
async def test_headers_of_a_request_are_read_or_refused(
    value: str, tmp_path: Path, clock: FakeClock
) -> None:
    async with staged(tmp_path, clock) as stage:
        stage.server.says = json.dumps(good("chat")).encode()
        for name in (
            "X-Spillgate-Max-Price", "X-Spillgate-Priority", "X-Spillgate-Tag", "traceparent",
            "Prefer", "Last-Event-ID", "Range", "X-Forwarded-For", "Expect",
        ):  # fmt: skip
            told = await stage.ask("chat", header=(name, value.encode()))
            assert told.status_code < 500, (name, told.text[:200])
        for page in ("/usage", "/v1/models", "/usage/calls"):
            for asked in ("limit", "from", "to", "after"):
                answered = await stage.client.get(page, params={asked: value})
                assert answered.status_code < 500, (page, asked, answered.text[:200])
