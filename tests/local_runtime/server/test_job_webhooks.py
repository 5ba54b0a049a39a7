"""How a background call ends is told to its webhook: real processes, real sockets."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.local_runtime.server.live_runtime import LiveRuntime
from tests.webhook_receiver import Receiver, listening


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with listening() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def live() -> Iterator[LiveRuntime]:
    with LiveRuntime("jobs.py") as live:
        yield live


def begin(live: LiveRuntime, id: str, way: str, webhook: str) -> None:
    with live.client as client:
        body = {"way": way, "webhook": webhook}
        assert client.post("/job", json=body, headers={"X-Request-Id": id}).status_code == 202


def test_a_result_goes_to_the_webhook(live: LiveRuntime, receiver: Receiver) -> None:
    begin(live, "good", "return", receiver.url)
    assert receiver.hear() == {"job_id": "good", "status": "completed", "output": {"done": True}}


def test_a_failure_goes_there_without_its_traceback(live: LiveRuntime, receiver: Receiver) -> None:
    begin(live, "bad", "raise", receiver.url)
    heard = receiver.hear()
    assert (heard["job_id"], heard["status"]) == ("bad", "failed")
    assert "secret" not in json.dumps(heard)


def test_the_death_of_its_worker_is_told_to_the_webhook_too(
    live: LiveRuntime, receiver: Receiver
) -> None:
    """The worker cannot do it any more: whoever waits would wait for ever."""
    begin(live, "lost", "die", receiver.url)
    told = {"job_id": "lost", "status": "failed", "error": "the worker that ran the call has died"}
    assert receiver.hear() == told
