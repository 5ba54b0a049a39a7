"""The Caddyfile in front of compose's gateways: by Caddy itself where it is installed, and what it
must agree on with the other files in any case."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"
CADDYFILE = DEPLOY / "caddy" / "Caddyfile"
CADDY = shutil.which("caddy")


def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    return found


def test_its_gateways_are_those_of_compose_at_the_port_of_the_policy() -> None:
    [upstreams] = re.findall(r"reverse_proxy ([^{]+)\{", CADDYFILE.read_text())
    port = yaml.safe_load((DEPLOY / "spillgate.yaml").read_text())["server"]["listen"].rpartition(
        ":"
    )[2]
    gateways = [name for name in compose() if name.startswith("gateway")]
    assert upstreams.split() == [f"{name}:{port}" for name in gateways]


def test_what_it_is_told_by_its_environment_compose_gives_it() -> None:
    wanted = set(re.findall(r"\{\$(\w+)\}", CADDYFILE.read_text()))
    [caddy] = [one for one in compose().values() if one["image"].startswith("caddy")]
    assert wanted == set(caddy["environment"])


def test_its_blocks_open_and_close() -> None:
    depth = 0
    for line in CADDYFILE.read_text().splitlines():
        text = line.partition("#")[0].strip()
        depth += text.endswith("{") - (text == "}")
        assert depth >= 0, line
    assert depth == 0


@pytest.mark.skipif(CADDY is None, reason="Caddy is not installed")
def test_caddy_reads_it_and_passes_pieces_on_at_once() -> None:
    done = subprocess.run(
        [str(CADDY), "adapt", "--config", str(CADDYFILE), "--validate"],
        env={**os.environ, "SPILLGATE_NAME": "gpus.example.com"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert '"flush_interval":-1' in json.dumps(json.loads(done.stdout)).replace(" ", "")
