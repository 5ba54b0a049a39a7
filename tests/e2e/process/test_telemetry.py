"""A gateway of its own process tells a receiver of its calls, and its log is JSON."""

from __future__ import annotations

import json
from pathlib import Path

from tests.gateway.telemetry.receiver import receiving, values_of
from tests.live import LiveGateway, free_port

CONFIG = """
backends: {away: {kind: openai, base_url: "http://127.0.0.1:9"}}
models: {chat: {task: chat, backends: [away]}}
"""


def test_what_a_gateway_did_is_told_before_it_ends(tmp_path: Path) -> None:
    scrapes = free_port()
    with receiving() as receiver:
        server = {
            "log": "json",
            "otel": {"endpoint": receiver.url},
            "metrics": {"listen": f"127.0.0.1:{scrapes}"},
        }
        with LiveGateway(tmp_path, CONFIG, server=server, workers=2) as gateway:
            body = {"model": "chat", "messages": [{"role": "user", "content": "hi"}]}
            with gateway.client() as client:
                answer = client.post("/v1/chat/completions", json=body)
                scraped = client.get(f"http://127.0.0.1:{scrapes}/metrics").text
    assert answer.status_code == 502
    assert 'outcome="error"' in scraped
    [root] = [span for span in receiver.spans if span.name == "POST /v1/chat/completions"]
    told = values_of(root)
    assert told["error.type"] == "unreachable"
    assert told["spillgate.request_id"] == answer.headers["x-request-id"]
    assert receiver.named("spillgate_calls")
    lines = [json.loads(line) for line in gateway.log.splitlines() if line.startswith("{")]
    failed = [line for line in lines if "failed at away" in line.get("message", "")]
    assert failed
    assert failed[0]["request_id"] == answer.headers["x-request-id"]
    assert failed[0]["level"] == "WARNING"
