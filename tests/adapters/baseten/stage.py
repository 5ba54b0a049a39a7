"""The contract's stage for ``kind: baseten``: a small platform of the tests."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, ClassVar

from adapters.base import Backend
from adapters.baseten.api import BasetenSettings
from adapters.baseten.backend import Baseten
from adapters.errors import FailureClass
from adapters.settings import Secret
from gateway.clock import SystemClock
from tests.adapters.baseten.platform import Model
from tests.adapters.scenarios import KEY, Scenario, Stage
from tests.adapters.served import served


class BasetenStage:
    scenarios: ClassVar[dict[str, Scenario]] = {
        "echo": Scenario(body={"echo": "hello"}),
        "openai": Scenario(task="chat", body={"model": "m"}),
        "stream": Scenario(body={"words": ["a", "b\n", "é", "d"]}, stream=True),
        "openai stream": Scenario(task="chat", body={"model": "m", "stream": True}, stream=True),
        "cold": Scenario(body={"echo": "hello"}, endpoint="cold", estimated=True),
        "slow": Scenario(body={"slow": True}),
        "cut": Scenario(
            body={"words": ["a", "b"], "cut": True}, stream=True, fails=FailureClass.TRUNCATED
        ),
        "too many": Scenario(body={"status": 429}, fails=FailureClass.OVERLOADED),
        "refused stream": Scenario(
            body={"status": 429}, stream=True, fails=FailureClass.OVERLOADED
        ),
        "wrong input": Scenario(body={"status": 400}, fails=FailureClass.INVALID),
        "model fails": Scenario(body={"status": 500}, fails=FailureClass.FAILED),
        "wrong key": Scenario(body={}, endpoint="wrong key", fails=FailureClass.CREDENTIAL),
        "no such deployment": Scenario(body={}, endpoint="nowhere", fails=FailureClass.GONE),
    }

    def __init__(self, model: Model, url: str) -> None:
        self._model = model
        self._url = url

    def backend(self, endpoint: str = "plain") -> Backend:
        given = settings_for(self._url, "wrong" if endpoint == "wrong key" else KEY)
        if endpoint == "nowhere":
            given["deployment"] = "nowhere"
        if endpoint == "cold":
            self._model.status = "SCALED_TO_ZERO"
        return Baseten("stage", BasetenSettings(**given), SystemClock())

    def running(self, endpoint: str = "plain") -> int:
        return self._model.running


def settings_for(url: str, key: str = KEY) -> dict[str, Any]:
    return {
        "model": "m1",
        "base_url": url,
        "management_url": f"{url}/v1",
        "api_key": Secret(key),
        "openai": True,
    }


@contextlib.contextmanager
def model_running(boot: float = 0.2) -> Iterator[tuple[Model, str]]:
    """A model on a free port, in a thread of its own, and its URL."""
    model = Model(KEY, boot)
    with served(model.app()) as url:
        yield model, url


@contextlib.contextmanager
def baseten_stage() -> Iterator[Stage]:
    with model_running() as (model, url):
        yield BasetenStage(model, url)
