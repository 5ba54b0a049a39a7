"""What the tests of ``kind: modal`` share: functions that a platform runs, and backends on it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from adapters.errors import BackendError
from adapters.modal.backend import Modal
from adapters.modal.settings import ModalSettings
from adapters.settings import Secret
from adapters.types import Call
from gateway.clock import SystemClock
from tests.adapters.modal.platform import ModalPlatform
from tests.adapters.modal.stage import pieces, serve

TOKEN = ("ak-1", "as-secret")


class Touch:
    """Makes a file when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (Path(self.path),)


def raises(body: dict[str, Any]) -> Any:
    raise {
        "cancelled": asyncio.CancelledError,
        "exit": SystemExit,
        "iteration": StopAsyncIteration,
        "key": KeyError,
        "timeout": TimeoutError,
        "value": ValueError,
    }[body["kind"]]("the model said so")


def touches(body: dict[str, Any]) -> Any:
    return {"harm": Touch(body["path"])}


def keywords(*, a: int, b: int) -> int:
    return a + b


def length(body: bytes) -> int:
    return len(body)


def encoded(body: dict[str, Any]) -> bytes:
    return b'{"as": "I wrote it"}'


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "serve": serve,
    "pieces": pieces,
    "raises": raises,
    "touches": touches,
    "keywords": keywords,
    "length": length,
    "encoded": encoded,
    "Model.run": serve,
    "Model.pieces": pieces,
}


def settings_for(platform: ModalPlatform, **more: Any) -> ModalSettings:
    usual: dict[str, Any] = {
        "app": "app",
        "function": "serve",
        "stream": "pieces",
        "token_id": Secret(TOKEN[0]),
        "token_secret": Secret(TOKEN[1]),
        "server_url": platform.url,
    }
    return ModalSettings(**{**usual, **more})


def backend_for(platform: ModalPlatform, **more: Any) -> Modal:
    return Modal("m", settings_for(platform, **more), SystemClock())


def call(body: str, *, stream: bool = False, call_id: str = "c1") -> Call:
    return Call(id=call_id, model="m", task="infer", body=body.encode(), stream=stream)


async def failing(backend: Modal, asked: Call) -> BackendError:
    with pytest.raises(BackendError) as caught:
        await backend.invoke(asked)
    return caught.value


async def pieces_of(chunks: AsyncIterator[Any]) -> list[bytes]:
    return [chunk.data async for chunk in chunks]
