"""The contract's stage for the fake: what the tests of the gateway stand on keeps the contract."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import ClassVar

import msgspec

from adapters.base import Backend
from adapters.errors import BackendError, FailureClass
from adapters.fake import After, Fake, FakeSettings, Outcome
from adapters.types import Call, Chunk, Reply, Usage
from gateway.clock import SystemClock
from tests.adapters.scenarios import Scenario, Stage

USED = Usage(exec_s=0.1, reported=True)
COLD = Usage(exec_s=0.1, cold_s=5.0, reported=True)
EVENTS = [Chunk(b'data: {"n":%d}\n\n' % number) for number in range(3)]
ANSWERS: dict[str, Outcome] = {
    "stream": [*EVENTS, Chunk(b"data: [DONE]\n\n", "done", USED)],
    "slow": After(60.0, Reply()),
    "cut": [*EVENTS, BackendError(FailureClass.TRUNCATED, "it broke off")],
    **{kind.slug: BackendError(kind, "as it was told") for kind in FailureClass},
}


class FakeStage:
    scenarios: ClassVar[dict[str, Scenario]] = {
        "echo": Scenario(body={"say": "hello"}),
        "stream": Scenario(body={"say": "stream"}, stream=True),
        "slow": Scenario(body={"say": "slow"}),
        "cold": Scenario(body={"say": "hello"}, endpoint="cold"),
        "cut": Scenario(body={"say": "cut"}, stream=True, fails=FailureClass.TRUNCATED),
        **{kind.slug: Scenario(body={"say": kind.slug}, fails=kind) for kind in FailureClass},
    }

    def __init__(self) -> None:
        self._backends: list[Fake] = []

    def backend(self, endpoint: str = "plain") -> Backend:
        backend = Fake("stage", FakeSettings(), SystemClock())
        backend.answers = answer_to
        if endpoint == "cold":
            backend.tell(Reply(body=b"{}", usage=COLD))
        self._backends.append(backend)
        return backend

    def running(self, endpoint: str = "plain") -> int:
        return sum(backend.running for backend in self._backends)


def answer_to(call: Call) -> Outcome:
    said = msgspec.json.decode(call.body)["say"]
    return ANSWERS.get(said) or Reply(body=msgspec.json.encode({"echo": said}), usage=USED)


@contextlib.contextmanager
def fake_stage() -> Iterator[Stage]:
    yield FakeStage()
