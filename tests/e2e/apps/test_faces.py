"""Apps of other platforms, and a chat of words, behind the gateway and by themselves."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from tests.live import ROOT, LiveGateway, free_port
from tests.waiting import wait_until

CONFIG = """
backends:
  squares: {kind: local, app: "tests/programs/faces/squares.py:Squares", required: true}
  shout: {kind: local, app: "tests/programs/faces/predict.py:Predictor", required: true}
  words: {kind: local, app: "tests/programs/faces/words.py:app", required: true}
models:
  squares: {task: infer, backends: [squares]}
  shout: {task: infer, backends: [shout]}
  words: {task: chat, backends: [words]}
"""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveGateway]:
    with LiveGateway(tmp_path_factory.mktemp("faces"), CONFIG) as live:
        yield live


def test_apps_for_litserve_and_cog_are_backends(gateway: LiveGateway) -> None:
    with gateway.client() as client:
        assert client.post("/v1/infer/squares", json={"input": 4}).json() == {"output": 16}
        assert client.post("/v1/infer/shout", json={"text": "hi", "times": 2}).json() == "HI!!"
        refused = client.post("/v1/infer/shout", json={"text": "hi", "times": 9})
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, "times")


def test_words_are_a_chat_to_openais_own_client(gateway: LiveGateway) -> None:
    with openai.OpenAI(
        base_url=f"{gateway.url}/v1",
        api_key=gateway.user_key,
        http_client=httpx.Client(trust_env=False),
        max_retries=0,
    ) as client:
        asked: Any = {"model": "words", "messages": [{"role": "user", "content": "hello"}]}
        whole = client.chat.completions.create(**asked)
        assert whole.choices[0].message.content == "You said hello"
        stream = client.chat.completions.create(**asked, stream=True)
        said = [event.choices[0].delta.content for event in stream if event.choices]
        assert "".join(filter(None, said)) == "You said hello"
        assert len(said) == 5


def test_a_program_for_litserve_runs_as_it_stands(tmp_path: Path) -> None:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "tests/programs/faces/squares.py"), str(port)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def squared() -> bool:
        try:
            answer = httpx.post(
                f"http://127.0.0.1:{port}/predict", json={"input": 3}, trust_env=False
            )
        except httpx.TransportError:
            return False
        return answer.status_code == 200 and answer.json() == {"output": 9}

    try:
        wait_until(squared, "it answers", within_s=60)
    finally:
        process.terminate()
        process.wait(30)
