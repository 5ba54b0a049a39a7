"""What cannot be served is refused at every door, in its place, and never with a traceback."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.e2e.observing import error_of, metric
from tests.live import LiveGateway
from tests.waiting import until

GOOD = """
backends: {b: {kind: openai, base_url: "http://127.0.0.1:9", engine: none}}
models: {m: {task: chat, backends: [b]}}
"""
BAD = {
    "a URL without a scheme": ('"http://127.0.0.1:9"', '"localhost:9/v1"', "base_url"),
    "a port that is none": ('"http://127.0.0.1:9"', '"http://127.0.0.1:241010"', "base_url"),
    "an app that is not there": (
        'openai, base_url: "http://127.0.0.1:9", engine: none',
        'local, app: "nofile.py:app"',
        "app",
    ),
    "no connection at all": ("engine: none", "max_connections: 0", "max_connections"),
    "a header with a blank": ("engine: none", 'headers: {"X A": "1"}', "headers.X A"),
}


@pytest.mark.parametrize("fault", BAD)
async def test_it_is_refused_at_the_start(fault: str, tmp_path: Path) -> None:
    good, bad, key = BAD[fault]
    gateway = LiveGateway(tmp_path, GOOD.replace(good, bad))
    gateway.start(wait_for="")
    assert gateway.process is not None
    assert await asyncio.to_thread(gateway.process.wait, 60) == 2
    gateway.stop()
    assert "policy.yaml:11:" in gateway.log
    assert f"backends.b.{key}: " in gateway.log
    assert "Traceback" not in gateway.log


async def test_it_is_refused_by_http_and_on_sighup_and_the_old_one_goes_on(tmp_path: Path) -> None:
    with LiveGateway(tmp_path, GOOD) as gateway:
        head = gateway.config.read_text().removesuffix(GOOD)
        async with gateway.async_client(gateway.admin_key) as client:
            before = (await client.get("/admin/policy")).json()["policy"]
            for refused, (good, bad, key) in enumerate(BAD.values(), 1):
                text = GOOD.replace(good, bad)
                for method, path in (("POST", "/admin/policy/validate"), ("PUT", "/admin/policy")):
                    answer = await client.request(method, path, content=head + text)
                    assert error_of(answer) == (400, "invalid_policy")
                    assert "policy.yaml:11:" in answer.json()["error"]["message"]
                    assert f"backends.b.{key}: " in answer.json()["error"]["message"]
                gateway.write_config(text)
                gateway.reload()

                def told(refused: int = refused) -> bool:
                    count = metric(gateway, "spillgate_policy_reloads_total", result="refused")
                    return count == refused

                await until(told, "the reload is refused")
            shown = (await client.get("/admin/policy")).json()
            assert shown["policy"] == before
            assert f"backends.b.{key}: " in shown["last_refused"]["problems"][0]
            gateway.write_config(GOOD)
            gateway.reload()

            async def forgotten() -> bool:
                return (await client.get("/admin/policy")).json()["last_refused"] is None

            await until(forgotten, "a reload that is taken ends it")
        assert "Traceback" not in gateway.log
