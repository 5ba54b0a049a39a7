"""The harness of the end-to-end tests: a gateway that starts, answers, stops, and starts again."""

from __future__ import annotations

import ssl
from pathlib import Path

import httpx
import pytest

from tests.live import LiveGateway

POLICY = """
backends:
  home: {kind: local, app: "tests/programs/echo.py:app", workers: 1, required: true}
models:
  echo: {task: infer, backends: [home]}
"""


def test_a_gateway_over_tls_answers_who_has_a_key_and_trusts_its_ca(tmp_path: Path) -> None:
    with LiveGateway(tmp_path, POLICY, tls=True) as gateway:
        with gateway.client() as client:
            answer = client.post("/v1/infer/echo", json={"a": 1})
            assert (answer.status_code, answer.json()["echo"]) == (200, {"a": 1})
        with gateway.client(key="") as nobody:
            assert nobody.get("/v1/models").status_code == 401
        stranger = ssl.create_default_context()
        with (
            httpx.Client(verify=stranger, trust_env=False) as client,
            pytest.raises(httpx.ConnectError, match="certificate verify failed"),
        ):
            client.get(gateway.url)


def test_a_key_and_a_ca_outlive_a_restart(tmp_path: Path) -> None:
    gateway = LiveGateway(tmp_path, POLICY, tls=True)
    with gateway:
        key, ca = gateway.user_key, gateway.ca.read_bytes()
    with gateway, gateway.client(key) as client:
        assert client.get("/v1/models").status_code == 200
        assert gateway.ca.read_bytes() == ca


def test_a_gateway_that_cannot_start_says_why_in_the_test(tmp_path: Path) -> None:
    with (
        pytest.raises(AssertionError, match=r"ended with 2[\s\S]*no_such_key"),
        LiveGateway(tmp_path, POLICY + "no_such_key: 1\n"),
    ):
        pass
