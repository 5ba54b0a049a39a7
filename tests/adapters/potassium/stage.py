"""The contract's stage for ``kind: potassium``: an app with Potassium's names on our runtime."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import ClassVar

from adapters.base import Backend
from adapters.errors import FailureClass
from adapters.potassium.api import PotassiumSettings
from adapters.potassium.backend import PotassiumBackend
from adapters.settings import Secret
from gateway.clock import SystemClock
from tests import processes
from tests.adapters.potassium.servers import PotassiumServer, runtime_server
from tests.adapters.scenarios import KEY, Scenario, Stage

ROUTES = {"plain": "/", "stream": "/stream", "nowhere": "/nowhere"}


class PotassiumStage:
    scenarios: ClassVar[dict[str, Scenario]] = {
        "echo": Scenario(body={"echo": "hello"}),
        "cold": Scenario(body={"echo": "hello"}, endpoint="cold"),
        "stream": Scenario(body={"pieces": 4}, stream=True, endpoint="stream"),
        "slow": Scenario(body={"sleep": 60}),
        "raises": Scenario(body={"fail": "boo"}, fails=FailureClass.FAILED),
        "raises in a stream": Scenario(
            body={"pieces": 2, "fail": "boo"},
            stream=True,
            endpoint="stream",
            fails=FailureClass.TRUNCATED,
        ),
        "refuses as a busy server of Banana's": Scenario(
            body={"status": 423}, fails=FailureClass.OVERLOADED
        ),
        "refuses the input": Scenario(body={"status": 400}, fails=FailureClass.INVALID),
        "no such route": Scenario(body={}, endpoint="nowhere", fails=FailureClass.GONE),
    }

    def __init__(self, server: PotassiumServer, closing: contextlib.ExitStack) -> None:
        self._server = server
        self._closing = closing

    def backend(self, endpoint: str = "plain") -> Backend:
        if endpoint == "cold":
            return self._starting()
        # A worker whose call was left is replaced, which takes a moment.
        self._server.wait_until_ready()
        settings = PotassiumSettings(
            base_url=self._server.url, routes={"infer": ROUTES[endpoint]}, api_key=Secret(KEY)
        )
        return PotassiumBackend("stage", settings, SystemClock())

    def _starting(self) -> Backend:
        """Before a server of its own whose init takes a moment more."""
        with processes.lasting():
            server = self._closing.enter_context(runtime_server(held=True))
        release = threading.Timer(1.0, server.release_init)
        self._closing.callback(release.join, 10)
        release.start()
        settings = PotassiumSettings(base_url=server.url, start_wait=30.0)
        return PotassiumBackend("stage", settings, SystemClock())

    def running(self, endpoint: str = "plain") -> int:
        return self._server.running()


@contextlib.contextmanager
def potassium_stage() -> Iterator[Stage]:
    with contextlib.ExitStack() as closing:
        yield PotassiumStage(closing.enter_context(runtime_server()), closing)
