"""RunPod's own client, of which the base URL and the key are other ones."""

from __future__ import annotations

from pathlib import Path

import pytest
import requests
import runpod
from runpod.endpoint.asyncio.asyncio_runner import Endpoint as AsyncEndpoint
from runpod.http_client import AsyncClientSession

from tests.e2e.doors.conftest import CONFIG
from tests.live import LiveGateway
from tests.waiting import wait_until

LETTERS = ["a", {"b": 2}, 3]


@pytest.fixture
def endpoint(gateway: LiveGateway) -> runpod.Endpoint:
    return endpoint_of(gateway)


def endpoint_of(gateway: LiveGateway, key: str = "") -> runpod.Endpoint:
    runpod.endpoint_url_base = f"{gateway.url}/runpod/v2"
    return runpod.Endpoint("echo", api_key=key or gateway.user_key)


def test_a_call_that_is_waited_for(endpoint: runpod.Endpoint) -> None:
    assert endpoint.run_sync({"input": {"x": 1}}) == {"echo": {"x": 1}}
    assert endpoint.run_sync({"x": 2}) == {"echo": {"x": 2}}


def test_a_job_and_its_output(endpoint: runpod.Endpoint) -> None:
    job = endpoint.run({"input": {"say": LETTERS, "seconds": 0.5}})
    assert job.status() in ("IN_QUEUE", "IN_PROGRESS")
    assert job.output(timeout=30) == LETTERS
    assert job.status() == "COMPLETED"


def test_the_pieces_of_a_jobs_output(endpoint: runpod.Endpoint) -> None:
    assert list(endpoint.run({"input": {"say": LETTERS}}).stream()) == LETTERS


def test_a_job_that_fails(endpoint: runpod.Endpoint) -> None:
    job = endpoint.run({"input": {"refuse": "no such voice"}})
    assert job.output(timeout=30) is None
    assert job.status() == "FAILED"


def test_a_job_that_is_canceled(gateway: LiveGateway, endpoint: runpod.Endpoint) -> None:
    job = endpoint.run({"input": {"seconds": 50}})
    assert job.cancel() == {"id": job.job_id, "status": "CANCELLED"}
    assert job.status() == "CANCELLED"
    assert endpoint.purge_queue() == {"removed": 0, "status": "completed"}
    wait_until(lambda: endpoint.health()["jobs"]["inProgress"] == 0, "nothing runs any more")


def test_what_the_client_says_of_refusals(gateway: LiveGateway, endpoint: runpod.Endpoint) -> None:
    with pytest.raises(RuntimeError, match="401"):
        endpoint_of(gateway, "sg-unknown").run({"input": {"x": 1}})
    with pytest.raises(requests.HTTPError, match="400"):
        endpoint.run({"input": {"x": 1}, "s3Config": {}})


async def test_the_asynchronous_client(gateway: LiveGateway) -> None:
    endpoint_of(gateway)
    async with AsyncClientSession() as session:
        endpoint = AsyncEndpoint("echo", session, api_key=gateway.user_key)
        job = await endpoint.run({"say": LETTERS})
        assert await job.output(timeout=30) == LETTERS
        streamed = await endpoint.run({"say": LETTERS})
        assert [part async for part in streamed.stream()] == LETTERS
        stopped = await endpoint.run({"seconds": 50})
        assert (await stopped.cancel())["status"] == "CANCELLED"


def test_a_gateway_that_is_killed_between_submit_and_status_loses_nothing(tmp_path: Path) -> None:
    gateway = LiveGateway(tmp_path, CONFIG)
    gateway.start()
    try:
        endpoint = endpoint_of(gateway)
        jobs = [endpoint.run({"input": {"say": n, "seconds": n % 2}}) for n in range(8)]
        gateway.kill()
        gateway.start()
        assert [job.output(timeout=60) for job in jobs] == list(range(8))
        rows = gateway_rows(gateway)
        assert sorted(rows) == sorted((job.job_id, "success") for job in jobs)
    finally:
        if gateway.process is not None:
            gateway.stop()


def gateway_rows(gateway: LiveGateway) -> list[tuple[str, str]]:
    """Each call of the ledger, and how it ended."""
    with gateway.client() as client:
        calls = client.get("/usage/calls?limit=100&from=1h").json()["data"]
    return [(call["id"], call["outcome"]) for call in calls]
