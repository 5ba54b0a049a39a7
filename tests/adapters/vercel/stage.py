"""The contract's stage for ``kind: vercel``: a small AI Gateway of the tests."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import ClassVar

from adapters.base import Backend
from adapters.errors import FailureClass
from adapters.settings import Secret
from adapters.vercel.backend import Vercel, VercelSettings
from gateway.clock import SystemClock
from tests.adapters.scenarios import KEY, Scenario, Stage
from tests.adapters.served import served
from tests.adapters.vercel.platform import AIGateway


def chat(
    model: str, *, stream: bool = False, fails: FailureClass | None = None, key: str = "plain"
) -> Scenario:
    body = {"model": f"acme/{model}", **({"stream": True} if stream else {})}
    return Scenario(task="chat", body=body, stream=stream, fails=fails, endpoint=key)


class VercelStage:
    scenarios: ClassVar[dict[str, Scenario]] = {
        "echo": chat("hello"),
        "stream": chat("m", stream=True),
        "slow": chat("slow"),
        "cut": chat("cut", stream=True, fails=FailureClass.TRUNCATED),
        "wrong key": chat("m", fails=FailureClass.CREDENTIAL, key="wrong key"),
        "infer": Scenario(body={}, fails=FailureClass.UNSUPPORTED),
        **{
            f"status {status}": chat(f"status-{status}", fails=failure)
            for status, failure in {
                400: FailureClass.INVALID,
                403: FailureClass.CREDENTIAL,
                404: FailureClass.GONE,
                408: FailureClass.TIMEOUT,
                424: FailureClass.FAILED,
                429: FailureClass.OVERLOADED,
                500: FailureClass.FAILED,
            }.items()
        },
    }

    def __init__(self, gateway: AIGateway, url: str) -> None:
        self._gateway = gateway
        self._url = url

    def backend(self, endpoint: str = "plain") -> Backend:
        key = Secret("wrong" if endpoint == "wrong key" else KEY)
        settings = VercelSettings(base_url=f"{self._url}/v1", api_key=key)
        return Vercel("stage", settings, SystemClock())

    def running(self, endpoint: str = "plain") -> int:
        return self._gateway.running


@contextlib.contextmanager
def gateway_running() -> Iterator[tuple[AIGateway, str]]:
    """A gateway on a free port, in a thread of its own, and its URL."""
    gateway = AIGateway(KEY)
    with served(gateway.app()) as url:
        yield gateway, url


@contextlib.contextmanager
def vercel_stage() -> Iterator[Stage]:
    with gateway_running() as (gateway, url):
        yield VercelStage(gateway, url)
