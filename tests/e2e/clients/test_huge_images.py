"""An image of 200 MiB: who sends one is told that it is too large, as his client reads it, and the
gateway keeps none of it."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import httpx2
import openai
import pytest

from tests.live import LiveGateway

CONFIG = """
backends:
  home: {kind: openai, base_url: "http://127.0.0.1:9", engine: none}
models:
  draw: {task: images, backends: [home]}
  chat: {task: chat, backends: [home]}
"""
MIB = 1024 * 1024
IMAGE = b"\x89PNG" + bytes(200 * MIB)
MOST_GROWN = 48 * MIB
"""Bytes: what one body may hold by default, and some more."""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveGateway]:
    live = LiveGateway(tmp_path_factory.mktemp("huge"), CONFIG)
    live.start(wait_for="/healthz")
    try:
        yield live
    finally:
        live.stop()


def peak(gateway: LiveGateway) -> int:
    """The most memory that it ever had, in bytes."""
    assert gateway.process is not None
    status = Path(f"/proc/{gateway.process.pid}/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


def edited(gateway: LiveGateway) -> None:
    with openai.OpenAI(**options(gateway), base_url=f"{gateway.url}/v1") as client:
        client.images.edit(model="draw", prompt="a gate", image=("a.png", IMAGE, "image/png"))


def shown(gateway: LiveGateway) -> None:
    url = "data:image/png;base64," + base64.b64encode(IMAGE).decode()
    part: Any = {"type": "image_url", "image_url": {"url": url}}
    with openai.OpenAI(**options(gateway), base_url=f"{gateway.url}/v1") as client:
        client.chat.completions.create(model="chat", messages=[{"role": "user", "content": [part]}])


def told(gateway: LiveGateway) -> None:
    data = base64.b64encode(IMAGE).decode()
    source = {"type": "base64", "media_type": "image/png", "data": data}
    message: Any = {"role": "user", "content": [{"type": "image", "source": source}]}
    with anthropic.Anthropic(**options(gateway), base_url=gateway.url) as client:
        client.messages.create(model="chat", max_tokens=9, messages=[message])


def options(gateway: LiveGateway) -> dict[str, Any]:
    http = httpx2.Client(trust_env=False)
    return {"api_key": gateway.user_key, "max_retries": 0, "http_client": http}


@pytest.mark.parametrize("ask", [edited, shown, told])
def test_an_image_that_is_too_large_is_refused_as_such(ask: Any, gateway: LiveGateway) -> None:
    before = peak(gateway)
    with pytest.raises((openai.APIStatusError, anthropic.APIStatusError)) as refused:
        ask(gateway)
    assert refused.value.status_code == 413
    assert peak(gateway) - before < MOST_GROWN
