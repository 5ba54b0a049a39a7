"""A gateway in front of a real engine: llama.cpp's own server, over a model of random weights."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import openai
import pytest

from tests.adapters.openai.test_llamacpp import llamacpp
from tests.adapters.openai.tiny_llama import write_tiny_llama
from tests.live import SPILLGATE, LiveGateway

CONFIG = """
backends:
  llama: {{kind: openai, base_url: "{url}", price: own, required: true}}
models:
  tiny: {{task: chat, backends: [llama]}}
prices:
  own: {{per_hour: 3.6, as_of: 2026-11-01, source: test}}
"""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveGateway]:
    folder = tmp_path_factory.mktemp("engine")
    model = folder / "tiny.gguf"
    write_tiny_llama(model)
    with (
        llamacpp(model, "2", "--metrics") as url,
        LiveGateway(folder, CONFIG.format(url=url)) as live,
    ):
        yield live


def client_of(gateway: LiveGateway) -> openai.OpenAI:
    return openai.OpenAI(
        base_url=gateway.url + "/v1",
        api_key=gateway.user_key,
        http_client=httpx.Client(trust_env=False),
        timeout=60.0,
    )


def test_more_callers_than_it_has_slots_are_all_answered(gateway: LiveGateway) -> None:
    with client_of(gateway) as client, ThreadPoolExecutor(8) as pool:

        def ask(number: int) -> int:
            answer = client.chat.completions.create(
                model="tiny", messages=[{"role": "user", "content": f"{number}"}], max_tokens=40
            )
            assert answer.usage is not None
            tokens: int = answer.usage.completion_tokens
            return tokens

        assert all(0 < tokens <= 40 for tokens in pool.map(ask, range(24)))


def test_a_stream_of_it_ends_with_its_tokens(gateway: LiveGateway) -> None:
    with client_of(gateway) as client:
        stream = client.chat.completions.create(
            model="tiny",
            messages=[{"role": "user", "content": "hi"}],
            max_tokens=20,
            stream=True,
            stream_options={"include_usage": True},
        )
        last = list(stream)[-1]
    assert last.usage is not None
    assert 0 < last.usage.completion_tokens <= 20


def test_its_slots_are_the_backends(gateway: LiveGateway) -> None:
    with gateway.client(gateway.admin_key) as client:
        (row,) = client.get("/admin/backends").json()["backends"]
    assert (row["slots"], row["detail"], row["warm"]) == (2, "llamacpp", True)


def test_spillgate_probe_names_the_engine_and_its_load(gateway: LiveGateway) -> None:
    done = subprocess.run(
        [str(SPILLGATE), "probe", "llama", "--config", str(gateway.config), "--json"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    found = json.loads(done.stdout)
    assert found["ready"], done.stderr
    assert (found["detail"], found["running"], found["queued"]) == ("llamacpp", 0, 0)
