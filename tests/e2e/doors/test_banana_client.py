"""Banana's own client, of which the URL and the key are other ones."""

from __future__ import annotations

import banana_dev
import pytest
from banana_dev.client import ClientException

from tests.live import LiveGateway


def client_of(gateway: LiveGateway, key: str = "") -> banana_dev.Client:
    return banana_dev.Client(key or gateway.user_key, f"{gateway.url}/banana/echo")


def test_a_call(gateway: LiveGateway) -> None:
    answer, about = client_of(gateway).call("/", {"x": 1})
    assert answer == {"echo": {"x": 1}}
    assert about["headers"]["x-spillgate-cost"]


def test_a_warmup(gateway: LiveGateway) -> None:
    assert client_of(gateway).warmup()[0] == {"warm": True}


def test_what_the_client_says_of_refusals(gateway: LiveGateway) -> None:
    with pytest.raises(ClientException, match="not known"):
        client_of(gateway, "sg-unknown").call("/", {})
    with pytest.raises(ClientException, match="no model"):
        client_of(gateway).call("/generate", {})
    with pytest.raises(ClientException, match="422"):
        client_of(gateway).call("/", {"refuse": "no such voice"})
