"""A start that cannot begin makes no keys, and a second gateway spends no second budget."""

from __future__ import annotations

import asyncio
import socket
import subprocess
from pathlib import Path

from tests.live import SPILLGATE, LiveGateway, free_port

CONFIG = """
backends: {b: {kind: openai, base_url: "http://127.0.0.1:9", engine: none}}
models: {m: {task: embeddings, backends: [b]}}
"""


async def test_a_port_that_is_taken_is_told_and_the_next_start_shows_the_first_keys(
    tmp_path: Path,
) -> None:
    gateway = LiveGateway(tmp_path, CONFIG)
    with socket.create_server(("127.0.0.1", gateway.port)):
        gateway.start(wait_for="")
        assert gateway.process is not None
        assert await asyncio.to_thread(gateway.process.wait, 60) == 2
        gateway.stop()
    assert f"127.0.0.1:{gateway.port} cannot be listened on" in gateway.log
    assert "Traceback" not in gateway.log
    gateway.start()
    gateway.stop()
    assert "Two keys were made" in gateway.log


def test_a_second_gateway_with_budgets_of_its_own_is_refused(tmp_path: Path) -> None:
    """Commands beside the first, and its own restart, are not."""
    with LiveGateway(tmp_path, CONFIG) as gateway:
        other = tmp_path / "other.yaml"
        text = gateway.config.read_text()
        other.write_text(text.replace(f":{gateway.port}", f":{free_port()}"))
        refused = subprocess.run(
            [SPILLGATE, "serve", "--config", other], capture_output=True, text=True, timeout=60
        )
        assert refused.returncode == 2
        assert f"the gateway with process id {gateway.pid} uses" in refused.stderr
        assert gateway.create_key("alice")
        gateway.kill()
        gateway.start()


def test_explain_trusts_the_gateway_from_any_folder_and_says_whom_it_does_not_trust(
    tmp_path: Path,
) -> None:
    with LiveGateway(tmp_path, CONFIG, tls=True) as gateway:
        stranger = tmp_path / "stranger.yaml"
        stranger.write_text(gateway.config.read_text().replace(str(gateway.data), "nowhere"))
        said = [
            subprocess.run(
                [SPILLGATE, "explain", "--config", config, "--model", "m"],
                cwd="/",
                env={"SPILLGATE_KEY": gateway.user_key},
                capture_output=True,
                text=True,
                timeout=60,
            )
            for config in (gateway.config, stranger)
        ]
    assert [one.returncode for one in said] == [0, 2]
    assert "its certificate is not trusted" in said[1].stderr
    assert "is the gateway running?" not in said[1].stderr
