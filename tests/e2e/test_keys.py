"""Keys are changed by another process while the gateway runs, and the next request knows it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live import LiveGateway

CONFIG = """
backends:
  home: {kind: openai, base_url: "http://127.0.0.1:9"}
models:
  chat: {task: chat, backends: [home]}
"""


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[LiveGateway]:
    with LiveGateway(tmp_path, CONFIG) as live:
        yield live


def make(gateway: LiveGateway, user: str) -> tuple[str, str]:
    """(id, key)"""
    made = gateway.spillgate(
        "keys", "create", "--config", str(gateway.config), "--user", user, "--json"
    )
    value = json.loads(made)
    return value["id"], value["key"]


def rotate(gateway: LiveGateway, key_id: str, grace: str) -> str:
    """The new key."""
    arguments = ["keys", "rotate", key_id, "--config", str(gateway.config), "--grace", grace]
    key: str = json.loads(gateway.spillgate(*arguments, "--json"))["key"]
    return key


def status_with(gateway: LiveGateway, key: str) -> int:
    with gateway.client(key) as client:
        return client.get("/v1/models").status_code


def test_a_key_revoked_by_another_process_is_refused_by_the_very_next_request(
    gateway: LiveGateway,
) -> None:
    """On the connection that it was just used on."""
    key_id, key = make(gateway, "carol")
    with gateway.client(key) as client:
        assert client.get("/v1/models").status_code == 200
        gateway.spillgate("keys", "revoke", key_id, "--config", str(gateway.config))
        refused = client.get("/v1/models")
    assert (refused.status_code, refused.json()["error"]["code"]) == (401, "invalid_api_key")


def test_a_rotated_key_works_beside_the_new_one_for_as_long_as_its_grace(
    gateway: LiveGateway,
) -> None:
    key_id, old = make(gateway, "dora")
    new = rotate(gateway, key_id, "1h")
    assert [status_with(gateway, key) for key in (old, new)] == [200, 200]


def test_a_key_rotated_without_grace_is_refused_at_once(gateway: LiveGateway) -> None:
    key_id, old = make(gateway, "erna")
    assert status_with(gateway, old) == 200
    new = rotate(gateway, key_id, "0s")
    assert [status_with(gateway, key) for key in (old, new)] == [401, 200]
