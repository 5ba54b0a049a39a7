"""The contract's stage for functions of ``kind: modal``: Modal's SDK against a platform of ours."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from threading import Event
from typing import Any, ClassVar

from adapters.base import Backend
from adapters.errors import FailureClass
from adapters.modal.backend import Modal
from adapters.modal.settings import ModalSettings
from adapters.settings import Secret
from gateway.clock import SystemClock
from tests.adapters.modal.platform import (
    INTERNAL_FAILURE,
    TIMEOUT,
    Ended,
    ModalPlatform,
    modal_running,
)
from tests.adapters.scenarios import KEY, Scenario, Stage

TOKEN = ("ak-stage", KEY)
CHUNKS = [
    'data: {"choices":[{"delta":{"content":"a"},"finish_reason":null}]}\n\n',
    'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n',
    'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}\n\n',
]
"""What a generator that speaks OpenAI's protocol yields."""
OURS = {"SystemExit": SystemExit, "StopAsyncIteration": StopAsyncIteration}


def serve(body: dict[str, Any], cancelled: Event) -> Any:
    """The function that every scenario of a whole answer asks."""
    if "sleep" in body:
        cancelled.wait(body["sleep"])
    if "raise" in body:
        raise OURS.get(body["raise"], ValueError)(body["raise"])
    if "end" in body:
        raise Ended(TIMEOUT if body["end"] == "timeout" else INTERNAL_FAILURE)
    if "opaque" in body:
        return b"\xff"
    if "model" in body:
        return {"choices": [{"text": ""}], "usage": {"prompt_tokens": 3, "completion_tokens": 1}}
    return body.get("echo")


def pieces(body: dict[str, Any], cancelled: Event) -> Iterator[Any]:
    """The generator that every scenario of a stream asks."""
    yield from body.get("pieces", [])
    if body.get("hold"):
        cancelled.wait(60)
    if "raise" in body:
        raise OURS.get(body["raise"], ValueError)(body["raise"])


class ModalStage:
    scenarios: ClassVar[dict[str, Scenario]] = {
        "echo": Scenario(body={"echo": "hello"}),
        "openai": Scenario(task="chat", body={"model": "m"}),
        "stream": Scenario(body={"pieces": [{"word": "a"}, "b\nc", 3, None]}, stream=True),
        "openai stream": Scenario(
            task="chat", body={"model": "m", "pieces": CHUNKS, "stream": True}, stream=True
        ),
        "slow": Scenario(body={"sleep": 60}),
        "raises": Scenario(body={"raise": "boo"}, fails=FailureClass.FAILED),
        "raises what would end a process": Scenario(
            body={"raise": "SystemExit"}, fails=FailureClass.FAILED
        ),
        "fails before the stream": Scenario(
            body={"raise": "StopAsyncIteration"}, stream=True, fails=FailureClass.FAILED
        ),
        "its own time limit": Scenario(body={"end": "timeout"}, fails=FailureClass.TIMEOUT),
        "container lost": Scenario(body={"end": "lost"}, fails=FailureClass.FAILED),
        "no json": Scenario(body={"opaque": True}, fails=FailureClass.FAILED),
        "no stream of the protocol": Scenario(
            task="chat",
            body={"model": "m", "pieces": []},
            stream=True,
            fails=FailureClass.MALFORMED,
        ),
        "wrong key": Scenario(body={}, endpoint="wrong key", fails=FailureClass.CREDENTIAL),
        "no such function": Scenario(body={}, endpoint="nowhere", fails=FailureClass.GONE),
        "streams by a plain function": Scenario(
            body={}, stream=True, endpoint="unstreamed", fails=FailureClass.UNSUPPORTED
        ),
    }

    def __init__(self, platform: ModalPlatform) -> None:
        self.platform = platform

    def backend(self, endpoint: str = "plain") -> Backend:
        settings = ModalSettings(
            app="stage",
            function="nowhere" if endpoint == "nowhere" else "serve",
            stream="serve" if endpoint == "unstreamed" else "pieces",
            token_id=Secret("wrong" if endpoint == "wrong key" else TOKEN[0]),
            token_secret=Secret(KEY),
            server_url=self.platform.url,
            openai=True,
        )
        return Modal("stage", settings, SystemClock())

    def running(self, endpoint: str = "plain") -> int:
        return self.platform.running


async def first_use(backend: Backend) -> None:
    """Starts the SDK's own thread, which stays for the life of the process."""
    await backend.probe()
    await backend.aclose()


@contextlib.contextmanager
def modal_stage() -> Iterator[Stage]:
    with modal_running({"serve": serve, "pieces": pieces}, TOKEN) as platform:
        stage = ModalStage(platform)
        asyncio.run(first_use(stage.backend()))
        yield stage
