"""The kind keeps what every kind of Spillgate keeps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import pytest
from shouting import Service, serving
from spillgate_shout import Shout, ShoutSettings

from adapters.base import Backend
from adapters.errors import FailureClass
from adapters.settings import Secret
from gateway.clock import SystemClock
from spillgate_contract import KEY, Contract, Scenario, Stage

FAILURES = {
    400: FailureClass.INVALID,
    404: FailureClass.GONE,
    413: FailureClass.TOO_LARGE,
    429: FailureClass.OVERLOADED,
    500: FailureClass.FAILED,
    503: FailureClass.OVERLOADED,
}


class ShoutStage:
    scenarios: ClassVar[dict[str, Scenario]] = {
        "echo": Scenario(body={"text": "hello"}),
        "stream": Scenario(body={"text": "one two three"}, stream=True),
        "slow": Scenario(body={"text": "slow"}),
        "cut": Scenario(body={"text": "one cut three"}, stream=True, fails=FailureClass.TRUNCATED),
        "malformed": Scenario(body={"text": "malformed"}, fails=FailureClass.MALFORMED),
        "wrong key": Scenario(body={}, endpoint="wrong key", fails=FailureClass.CREDENTIAL),
        **{
            f"status {status}": Scenario(body={"text": f"status {status}"}, fails=failure)
            for status, failure in FAILURES.items()
        },
    }

    def __init__(self, service: Service, url: str) -> None:
        self._service = service
        self._url = url

    def backend(self, endpoint: str = "plain") -> Backend:
        key = f"{KEY}-wrong" if endpoint == "wrong key" else KEY
        settings = ShoutSettings(base_url=self._url, api_key=Secret(key))
        backend: Backend = Shout("stage", settings, SystemClock())
        return backend

    def running(self, endpoint: str = "plain") -> int:
        count: int = self._service.running
        return count


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with serving(KEY) as (service, url):
        yield ShoutStage(service, url)


class TestShout(Contract):
    scenarios = ShoutStage.scenarios
