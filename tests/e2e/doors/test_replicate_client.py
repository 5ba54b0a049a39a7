"""Replicate's own client, of which the base URL and the key are other ones."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import replicate
from replicate.exceptions import ModelError, ReplicateError

from tests.e2e.doors.conftest import CONFIG
from tests.live import LiveGateway

LETTERS = ["a", "b", "c"]


@pytest.fixture
def client(gateway: LiveGateway) -> Iterator[replicate.Client]:
    with client_of(gateway) as client:
        yield client


@contextlib.contextmanager
def client_of(gateway: LiveGateway, key: str = "") -> Iterator[replicate.Client]:
    """One whose connections, which it never closes itself, are closed."""
    with httpx.HTTPTransport() as transport:
        yield replicate.Client(
            api_token=key or gateway.user_key,
            base_url=f"{gateway.url}/replicate",
            transport=transport,
        )


def test_a_run_by_name_and_by_version(client: replicate.Client) -> None:
    assert client.run("lab/echo", input={"x": 1}) == {"echo": {"x": 1}}
    version = client.models.get("lab/echo").latest_version
    assert version is not None
    assert client.run(f"lab/echo:{version.id}", input={"say": "hi"}) == "hi"
    assert client.run("spillgate/echo", input={"say": "hi"}, wait=False) == "hi"


def test_a_run_that_fails(client: replicate.Client) -> None:
    with pytest.raises(ModelError, match="no such voice"):
        client.run("lab/echo", input={"refuse": "no such voice"})


async def test_an_asynchronous_run(gateway: LiveGateway) -> None:
    async with httpx.AsyncHTTPTransport() as transport:
        client = replicate.Client(
            api_token=gateway.user_key, base_url=f"{gateway.url}/replicate", transport=transport
        )
        assert await client.async_run("lab/echo", input={"x": 1}) == {"echo": {"x": 1}}


def test_a_run_that_is_longer_than_its_create_waits(client: replicate.Client) -> None:
    asked = {"say": "late", "seconds": 2.5}
    assert client.run("lab/echo", input=asked, wait=1) == "late"


def test_a_prediction_waits_and_is_listed(client: replicate.Client) -> None:
    prediction = client.models.predictions.create("lab/echo", input={"say": LETTERS})
    prediction.wait()
    assert (prediction.status, prediction.output) == ("succeeded", LETTERS)
    assert prediction.id in [one.id for one in client.predictions.list()]
    assert client.deployments.get("lab/echo").current_release is not None
    assert "lab/echo" in [model.id for model in client.models.list()]


def test_a_prediction_of_a_deployment_is_canceled(client: replicate.Client) -> None:
    prediction = client.deployments.predictions.create("lab/echo", input={"seconds": 50})
    prediction.cancel()
    assert prediction.status == "canceled"


def test_a_file_of_an_input_is_uploaded(client: replicate.Client, tmp_path: Path) -> None:
    picture = tmp_path / "cat.png"
    picture.write_bytes(b"abc")
    with picture.open("rb") as opened:
        output = client.run("lab/echo", input={"image": opened}, use_file_output=False)
    assert output == {"echo": {"image": "data:image/png;base64,YWJj"}}
    [file] = client.files.list()
    assert (file.name, file.size, client.files.delete(file.id)) == ("cat.png", 3, True)


def test_a_stream(client: replicate.Client) -> None:
    events = list(client.stream("lab/echo", input={"say": LETTERS, "seconds": 0.5}))
    assert [str(event) for event in events if event.event.value == "output"] == LETTERS
    assert events[-1].event.value == "done"


def test_what_the_client_says_of_refusals(gateway: LiveGateway, client: replicate.Client) -> None:
    with pytest.raises(ReplicateError) as unknown:
        client.run("no/such", input={})
    assert (unknown.value.status, unknown.value.title) == (404, "Not found")
    with (
        client_of(gateway, "sg-unknown") as stranger_client,
        pytest.raises(ReplicateError) as stranger,
    ):
        stranger_client.run("lab/echo", input={})
    assert stranger.value.status == 401


def test_a_gateway_that_is_killed_between_create_and_wait_loses_nothing(tmp_path: Path) -> None:
    gateway = LiveGateway(tmp_path, CONFIG)
    gateway.start()
    try:
        with client_of(gateway) as client:
            made = [
                client.models.predictions.create("lab/echo", input={"say": n, "seconds": n % 2})
                for n in range(6)
            ]
            gateway.kill()
            gateway.start()
        with client_of(gateway) as client:
            found = [client.predictions.get(one.id) for one in made]
            for prediction in found:
                prediction.wait()
            assert [prediction.output for prediction in found] == list(range(6))
    finally:
        if gateway.process is not None:
            gateway.stop()
