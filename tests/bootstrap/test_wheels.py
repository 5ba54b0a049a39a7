"""What is installed does its main job without the repository: the gateway's wheel serves, and a
model's own environment has the runtime's wheel alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.live import ROOT, free_port
from tests.waiting import wait_until

APP = """
from local_runtime import Runtime

app = Runtime("where")


@app.handler("/")
def where(context, request):
    print("a call has come")
    import local_runtime

    return {"runtime": local_runtime.__file__}
"""
POLICY = """
version: 1
server: {{listen: "127.0.0.1:{port}", tls: "off", data: data}}
store: {{ledger: "sqlite:///data/ledger.db"}}
backends: {{home: {{kind: local, app: where.py:app, required: true, python: ./model-python}}}}
models: {{where: {{task: infer, backends: [home]}}}}
keys: {{unlimited: true}}
"""


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheels")
    subprocess.run(
        [str(ROOT / "scripts" / "wheels"), str(out)],
        cwd=ROOT,
        env={**os.environ, "PYTHON": sys.executable},
        check=True,
        timeout=300,
    )
    return out


def installed(wheel: Path, site: Path) -> Path:
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    command = [*pip, "--no-deps", "--no-compile", "--target", str(site), str(wheel)]
    subprocess.run(command, check=True, timeout=120)
    return site


def test_the_runtime_is_a_distribution_of_its_own_without_the_gateway(
    wheels: Path, tmp_path: Path
) -> None:
    """And without whatever else is called adapters."""
    [wheel] = wheels.glob("spillgate_runtime-*.whl")
    site = installed(wheel, tmp_path / "site")
    assert {path.name for path in site.iterdir() if "dist-info" not in path.name} == {
        "local_runtime"
    }
    [metadata] = site.glob("*.dist-info/METADATA")
    assert "torch" not in metadata.read_text()


def test_the_wheel_serves_without_the_repository(wheels: Path, tmp_path: Path) -> None:
    [whole] = wheels.glob("spillgate-*.whl")
    [runtime] = wheels.glob("spillgate_runtime-*.whl")
    site = installed(whole, tmp_path / "gateway-site")
    port = free_port()
    (tmp_path / "where.py").write_text(APP)
    (tmp_path / "spillgate.yaml").write_text(POLICY.format(port=port))
    model_python = tmp_path / "model-python"
    bare = installed(runtime, tmp_path / "model-site")
    model_python.write_text(f'#!/bin/sh\nPYTHONPATH="{bare}" exec "{sys.executable}" "$@"\n')
    model_python.chmod(0o755)
    environ = {**os.environ, "PYTHONPATH": str(site)}
    spillgate = [sys.executable, "-P", "-m", "gateway"]
    made = subprocess.run(
        [*spillgate, "keys", "create", "--config", "spillgate.yaml", "--user", "me", "--json"],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    key = json.loads(made.stdout)["key"]
    log = tmp_path / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*spillgate, "serve", "--config", "spillgate.yaml"],
            cwd=tmp_path,
            env=environ,
            stdout=out,
            stderr=out,
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:

            def ready() -> bool:
                assert process.poll() is None, log.read_text()
                try:
                    return client.get("/readyz").status_code == 200
                except httpx.TransportError:
                    return False

            wait_until(ready, "it is ready", within_s=60)
            headers = {"Authorization": f"Bearer {key}"}
            answer = client.post("/v1/infer/where", json={}, headers=headers)
    finally:
        process.terminate()
        process.wait(30)
    assert answer.json()["runtime"].startswith(str(bare))
    assert "home [worker 0] a call has come" in log.read_text()
