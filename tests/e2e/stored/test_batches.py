"""OpenAI's own client, unchanged, drives files and batches over a real server, and so does our own
command."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from tests.e2e.servers.paid import PaidServer
from tests.live import SPILLGATE, LiveGateway
from tests.waiting import wait_until

CONFIG = """
backends:
  home: {{kind: openai, base_url: "{url}/v1", concurrency: 4, price: here}}
models:
  echo: {{task: chat, backends: [home]}}
prices:
  here: {{per_hour: 3.6, as_of: 2026-11-01, source: test}}
plans:
  default: {{spend: 100 USD/day}}
"""


def client_of(gateway: LiveGateway) -> openai.OpenAI:
    return openai.OpenAI(
        base_url=f"{gateway.url}/v1",
        api_key=gateway.user_key,
        http_client=httpx.Client(trust_env=False),
        max_retries=0,
        timeout=30.0,
    )


def lines(count: int) -> bytes:
    return b"".join(
        json.dumps(
            {
                "custom_id": f"c{number}",
                "method": "POST",
                "url": "/v1/chat/completions",
                "body": {
                    "model": "echo",
                    "messages": [{"role": "user", "content": f"line {number}"}],
                },
            }
        ).encode()
        + b"\n"
        for number in range(count)
    )


def begun(client: openai.OpenAI, count: int) -> Any:
    stored = client.files.create(file=("in.jsonl", lines(count)), purpose="batch")
    return client.batches.create(
        input_file_id=stored.id,
        endpoint="/v1/chat/completions",
        completion_window="24h",
        metadata={"project": "atlas"},
    )


def ended(client: openai.OpenAI, id: str, within_s: float = 120.0) -> Any:
    over = ("completed", "failed", "expired", "cancelled")
    wait_until(
        lambda: client.batches.retrieve(id).status in over, "the batch ends", within_s=within_s
    )
    return client.batches.retrieve(id)


def answered(client: openai.OpenAI, batch: Any, count: int) -> None:
    text = client.files.content(batch.output_file_id).text
    told = [json.loads(line) for line in text.splitlines()]
    assert [one["custom_id"] for one in told] == [f"c{number}" for number in range(count)]
    for number, one in enumerate(told):
        message = one["response"]["body"]["choices"][0]["message"]
        assert message["content"] == f"line {number}"


def test_the_genuine_client_runs_a_batch(tmp_path: Path) -> None:
    with (
        PaidServer() as server,
        LiveGateway(tmp_path, CONFIG.format(url=server.url)) as gateway,
        client_of(gateway) as client,
    ):
        batch = begun(client, 20)
        assert batch.object == "batch"
        assert batch.metadata == {"project": "atlas"}
        done = ended(client, batch.id)
        assert done.status == "completed"
        assert (done.request_counts.total, done.request_counts.completed) == (20, 20)
        answered(client, done, 20)
        assert server.calls == 20
        assert [one.id for one in client.batches.list(limit=10)] == [batch.id]
        assert client.files.list(purpose="batch_output").data[0].id == done.output_file_id
        assert client.files.retrieve(done.input_file_id).filename == "in.jsonl"
        with pytest.raises(openai.NotFoundError, match="no such batch"):
            client.batches.retrieve("batch_none")
        assert client.files.delete(done.input_file_id).deleted


def run_command(gateway: LiveGateway, *arguments: str, **options: Any) -> subprocess.Popen[str]:
    environ = {**os.environ, "SPILLGATE_KEY": gateway.user_key}
    return subprocess.Popen(
        [str(SPILLGATE), "batch", *arguments, "--url", gateway.url],
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def test_the_command_runs_a_file_and_goes_on_where_it_was_broken_off(tmp_path: Path) -> None:
    source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    with PaidServer() as server, LiveGateway(tmp_path, CONFIG.format(url=server.url)) as gateway:
        source.write_bytes(lines(60))
        first = run_command(gateway, "run", str(source), "--out", str(out))
        wait_until(lambda: server.calls >= 1 and out.with_name("out.jsonl.batch").exists())
        first.send_signal(signal.SIGINT)
        _, said = first.communicate(timeout=60)
        if first.returncode == 130:
            assert "goes on" in said
            assert out.exists()
        again = run_command(gateway, "run", str(source), "--out", str(out), "--json")
        told, _ = again.communicate(timeout=120)
        assert again.returncode == 0, said
        batch = json.loads(told)
        assert batch["request_counts"] == {"total": 60, "completed": 60, "failed": 0}
        ids = [json.loads(line)["custom_id"] for line in out.read_text().splitlines()]
        assert ids == [f"c{number}" for number in range(60)]
        assert server.calls == 60
        listed, _ = run_command(gateway, "list").communicate(timeout=60)
        assert listed.count("batch_") == 1


def test_a_broken_line_is_said_with_its_place(tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    with PaidServer() as server, LiveGateway(tmp_path, CONFIG.format(url=server.url)) as gateway:
        broken = lines(20).splitlines(keepends=True)
        broken[16] = b"{oh\n"
        source.write_bytes(b"".join(broken))
        done = run_command(gateway, "run", str(source))
        told, said = done.communicate(timeout=60)
        assert done.returncode == 1
        assert f"{source}:17: This line is no valid JSON" in said
        assert "nothing was run" in told
        assert server.calls == 0
