"""The contract's stage for ``kind: replicate``: a small cloud of the tests."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import ClassVar

from adapters.base import Backend
from adapters.errors import FailureClass
from adapters.replicate.api import ReplicateSettings
from adapters.replicate.backend import Replicate
from adapters.settings import Secret
from gateway.clock import SystemClock
from tests.adapters.replicate.cloud import Cloud
from tests.adapters.scenarios import KEY, Scenario, Stage
from tests.adapters.served import served

CHUNKS = [
    'data: {"choices":[{"delta":{"content":"a"},"finish_reason":null}]}\n\n',
    'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n',
    'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}\n\n',
]
"""What a model that speaks OpenAI's protocol puts out as text."""


class ReplicateStage:
    scenarios: ClassVar[dict[str, Scenario]] = {
        "echo": Scenario(body={"echo": "hello"}),
        "openai": Scenario(task="chat", body={"model": "m"}),
        "stream": Scenario(body={"words": ["a", "b\nc", "d"]}, stream=True),
        "openai stream": Scenario(
            task="chat", body={"model": "m", "words": CHUNKS, "stream": True}, stream=True
        ),
        "slow": Scenario(body={"sleep": 60}),
        "fails": Scenario(body={"fail": "boo"}, fails=FailureClass.FAILED),
        "fails before the stream": Scenario(
            body={"fail": "boo"}, stream=True, fails=FailureClass.FAILED
        ),
        "fails in a stream": Scenario(
            body={"words": ["a", "b"], "fail": "boo"}, stream=True, fails=FailureClass.FAILED
        ),
        "wrong input": Scenario(body={"echo": 7}, fails=FailureClass.INVALID),
        "wrong key": Scenario(body={}, endpoint="wrong key", fails=FailureClass.CREDENTIAL),
        "no such model": Scenario(body={}, endpoint="nowhere", fails=FailureClass.GONE),
    }

    def __init__(self, cloud: Cloud, url: str) -> None:
        self._cloud = cloud
        self._url = url

    def backend(self, endpoint: str = "plain") -> Backend:
        settings = ReplicateSettings(
            deployment="o/nowhere" if endpoint == "nowhere" else "o/n",
            api_key=Secret("wrong" if endpoint == "wrong key" else KEY),
            base_url=f"{self._url}/v1",
            openai=True,
            wait=1.0,
            poll_every=0.05,
        )
        return Replicate("stage", settings, SystemClock())

    def running(self, endpoint: str = "plain") -> int:
        return self._cloud.running


@contextlib.contextmanager
def cloud_running(idle: float = 30.0) -> Iterator[tuple[Cloud, str]]:
    """A cloud on a free port, in a thread of its own, and its URL."""
    cloud = Cloud(KEY, idle)
    with served(cloud.app()) as url:
        yield cloud, url


@contextlib.contextmanager
def replicate_stage() -> Iterator[Stage]:
    with cloud_running() as (cloud, url):
        yield ReplicateStage(cloud, url)
