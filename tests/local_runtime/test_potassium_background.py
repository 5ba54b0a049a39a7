"""Background calls of a Potassium app: promised as its clients expect, wherever it is served."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator

import banana_dev
import httpx
import pytest

from local_runtime import Runtime
from local_runtime.client.promises import promise_of
from local_runtime.potassium import Potassium
from tests.adapters.local.backends import call, running
from tests.local_runtime.server.live_runtime import PROGRAMS, LiveRuntime
from tests.waiting import wait_until

APP = PROGRAMS / "potassium_app.py"


@pytest.fixture(scope="module")
def served() -> Iterator[LiveRuntime]:
    with LiveRuntime("", command=[sys.executable, str(APP)]) as live:
        yield live


def test_a_background_call_of_bananas_client_runs_and_has_an_id(served: LiveRuntime) -> None:
    """Its store is that of the worker."""
    banana = banana_dev.Client(api_key="a-key", url=served.url)
    answer, _ = banana.call("/background", {"text": "kept"})
    assert answer["started"]
    page = f"{served.url}/_k/jobs/{answer['job_id']}"
    wait_until(lambda: httpx.get(page, trust_env=False).json()["status"] == "completed")
    assert banana.call("/result", {})[0] == {"result": {"text": "kept"}}


def test_any_client_of_the_app_is_told_that_it_has_started(served: LiveRuntime) -> None:
    """As Potassium does, with 200."""
    answer = httpx.post(f"{served.url}/background", json={"text": "x"}, trust_env=False)
    assert answer.status_code == 200
    id = answer.headers["x-request-id"]
    assert answer.json() == {"started": True, "job_id": id}


async def test_a_gateway_tells_it_too() -> None:
    """And waits for the end, since the job is to be paid for."""
    async with running("potassium_app.py", handler="/background") as backend:
        reply = await backend.invoke(call({"text": "x"}, id="job-1"))
        assert reply.status == 200
        assert json.loads(reply.body) == {"started": True, "job_id": "job-1"}
        assert reply.rest is not None
        assert (await reply.rest()).reported


def test_an_app_of_our_own_promises_with_its_id_alone() -> None:
    assert (Potassium("a").says_started, Runtime("b").says_started) == (True, False)
    assert json.loads(promise_of("j", False)) == {"job_id": "j"}
