"""Whole gateways in front of hosted platforms: what each states is what the caller and the books
are told."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest

from tests.adapters.baseten.stage import model_running
from tests.adapters.huggingface.stage import endpoint_running
from tests.adapters.potassium.servers import genuine_server
from tests.adapters.scenarios import KEY
from tests.adapters.vercel.stage import gateway_running
from tests.live import LiveGateway

PRICES = """
prices:
  tokens: {per_million_input: 1, per_million_output: 1, as_of: 2026-11-01, source: test}
  flex: {per_second: 0.001, bills: [start, run], as_of: 2026-11-01, source: test}
"""
ENV = {"PLATFORM_KEY": KEY}


def row_of(client: httpx.Client, answer: httpx.Response) -> dict[str, object]:
    row: dict[str, object] = client.get(f"/usage/{answer.headers['x-request-id']}").json()
    return row


@pytest.mark.parametrize("silent", [False, True])
def test_a_cost_that_vercel_states_is_what_the_call_costs(tmp_path: Path, silent: bool) -> None:
    """In its answer, or looked up; on a stream too. By its tokens a call would cost 51 µUSD."""
    with gateway_running() as (platform, url):
        platform.silent = silent
        config = f"""
backends:
  anybody: {{kind: vercel, base_url: "{url}/v1", api_key: "${{PLATFORM_KEY}}", price: tokens,
            model: acme/m, cost_wait: 5s}}
models:
  m: {{task: chat, backends: [anybody]}}
{PRICES}"""
        with LiveGateway(tmp_path, config, env=ENV) as gateway, gateway.client() as client:
            asked = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
            whole = client.post("/v1/chat/completions", json=asked)
            assert whole.status_code == 200, whole.text
            assert float(whole.headers["x-spillgate-cost"]) == 0.000573
            streamed = client.post("/v1/chat/completions", json={**asked, "stream": True})
            assert streamed.text.rstrip().endswith("data: [DONE]")
            for answer in (whole, streamed):
                assert row_of(client, answer)["cost_nano"] == 573_000


def test_a_cold_endpoint_of_hugging_face_is_waited_for_and_its_start_is_on_the_books(
    tmp_path: Path,
) -> None:
    with endpoint_running(boot=1.0) as (platform, url):
        platform.state = "scaledToZero"
        config = f"""
backends:
  writer: {{kind: huggingface, base_url: "{url}", management_url: "{url}/v2",
           endpoint: acme/minilm, engine: tgi, api_key: "${{PLATFORM_KEY}}", price: flex,
           cold_start: {{p50: 1s, p95: 2s}}, idle_timeout: 1h}}
models:
  writer: {{task: infer, backends: [writer]}}
{PRICES}"""
        with LiveGateway(tmp_path, config, env=ENV) as gateway, gateway.client() as client:
            answer = client.post("/v1/infer/writer", json={"inputs": "hello"})
            assert answer.status_code == 200, answer.text
            assert answer.json()["generated_text"] == "hello"
            row = row_of(client, answer)
            assert row["reason"] == "COLD"
            cold = row["cold_seconds"]
            assert isinstance(cold, float)
            assert cold > 0.8
            assert row["cost_nano"] == pytest.approx(1_000_000 * cold, rel=0.5)
        assert platform.boots == 1


def test_potassium_itself_serves_behind_a_gateway_whole_and_streamed(tmp_path: Path) -> None:
    with genuine_server() as server:
        config = f"""
backends:
  app: {{kind: potassium, base_url: "{server.url}"}}
  text: {{kind: potassium, base_url: "{server.url}", routes: {{infer: /stream}}}}
models:
  app: {{task: infer, backends: [app]}}
  text: {{task: infer, backends: [text]}}
"""
        with LiveGateway(tmp_path, config) as gateway, gateway.client() as client:
            whole = client.post("/v1/infer/app", json={"who": True})
            assert whole.json()["id"] == whole.headers["x-request-id"]
            streamed = client.post(
                "/v1/infer/text", json={"pieces": 2}, headers={"Accept": "text/event-stream"}
            )
            lines = [line for line in streamed.text.splitlines() if line.startswith("data: ")]
            assert "".join(json.loads(line[6:]) for line in lines) == "0 é 1 é "


def test_a_model_on_baseten_serves_behind_a_gateway(tmp_path: Path) -> None:
    with model_running() as (_, url):
        config = f"""
backends:
  upscale: {{kind: baseten, model: m1, base_url: "{url}", management_url: "{url}/v1",
            api_key: "${{PLATFORM_KEY}}", price: flex}}
models:
  upscale: {{task: infer, backends: [upscale]}}
{PRICES}"""
        with LiveGateway(tmp_path, config, env=ENV) as gateway, gateway.client() as client:
            answer = client.post("/v1/infer/upscale", json={"echo": "hello"})
            assert answer.json() == {"echo": "hello"}
            assert row_of(client, answer)["backend"] == "upscale"
            refused = client.post("/v1/infer/upscale", json={"status": 429})
            assert refused.status_code == 429
