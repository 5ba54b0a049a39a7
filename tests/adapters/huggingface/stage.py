"""The contract's stage for ``kind: huggingface``: a small platform of the tests."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, ClassVar

from adapters.base import Backend
from adapters.errors import FailureClass
from adapters.huggingface.backend import HuggingFace, HuggingFaceSettings
from adapters.settings import Secret
from gateway.clock import SystemClock
from tests.adapters.huggingface.platform import Endpoint
from tests.adapters.scenarios import KEY, Scenario, Stage
from tests.adapters.served import served


class HuggingFaceStage:
    scenarios: ClassVar[dict[str, Scenario]] = {
        "echo": Scenario(body={"inputs": "hello"}),
        "openai": Scenario(task="chat", body={"model": "m"}),
        "stream": Scenario(body={"inputs": "x"}, stream=True),
        "openai stream": Scenario(task="chat", body={"model": "m", "stream": True}, stream=True),
        "cold": Scenario(body={"inputs": "hello"}, endpoint="cold", estimated=True),
        "slow": Scenario(body={"inputs": "slow"}),
        "cut": Scenario(body={"inputs": "cut"}, stream=True, fails=FailureClass.TRUNCATED),
        "breaks": Scenario(body={"inputs": "breaks"}, stream=True, fails=FailureClass.TRUNCATED),
        "refused stream": Scenario(
            body={"inputs": "status-429"}, stream=True, fails=FailureClass.OVERLOADED
        ),
        "wrong input": Scenario(body={"inputs": "status-422"}, fails=FailureClass.INVALID),
        "generation fails": Scenario(body={"inputs": "status-424"}, fails=FailureClass.FAILED),
        "overloaded": Scenario(body={"inputs": "status-429"}, fails=FailureClass.OVERLOADED),
        "wrong key": Scenario(
            body={"inputs": "x"}, endpoint="wrong key", fails=FailureClass.CREDENTIAL
        ),
    }

    def __init__(self, endpoint: Endpoint, url: str) -> None:
        self._endpoint = endpoint
        self._url = url

    def backend(self, endpoint: str = "plain") -> Backend:
        if endpoint == "cold":
            self._endpoint.state = "scaledToZero"
        key = "wrong" if endpoint == "wrong key" else KEY
        settings = HuggingFaceSettings(**settings_for(self._url, key))
        return HuggingFace("stage", settings, SystemClock())

    def running(self, endpoint: str = "plain") -> int:
        return self._endpoint.running


def settings_for(url: str, key: str = KEY) -> dict[str, Any]:
    return {
        "base_url": url,
        "management_url": f"{url}/v2",
        "endpoint": "acme/minilm",
        "engine": "tgi",
        "api_key": Secret(key),
    }


@contextlib.contextmanager
def endpoint_running(boot: float = 0.2) -> Iterator[tuple[Endpoint, str]]:
    """An endpoint on a free port, in a thread of its own, and its URL."""
    endpoint = Endpoint(KEY, boot)
    with served(endpoint.app()) as url:
        yield endpoint, url


@contextlib.contextmanager
def huggingface_stage() -> Iterator[Stage]:
    with endpoint_running() as (endpoint, url):
        yield HuggingFaceStage(endpoint, url)
