"""An app packed for another platform runs there, by that platform's own software."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.live import free_port
from tests.local_runtime.packaging.packed import packed, written
from tests.waiting import wait_until


@pytest.fixture
def app(tmp_path: Path) -> str:
    return written(tmp_path)


class PlatformServer:
    """A platform's own server over a package, as a process. ``command`` runs in its folder."""

    health = "/"

    def __init__(self, folder: Path, command: list[str], port: int, **own: str) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.process = subprocess.Popen(
            [sys.executable, *command],
            cwd=folder,
            env={**_bare_environ(), **own},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_until(self.ready, within_s=60)
        except BaseException:
            self.close()
            raise

    def ready(self) -> bool:
        assert self.process.poll() is None, "the platform's server has ended"
        try:
            return self.is_up(httpx.get(self.url + self.health, trust_env=False))
        except httpx.TransportError:
            return False

    def is_up(self, health: httpx.Response) -> bool:
        return health.status_code == 200

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(15)


# --- RunPod ---------------------------------------------------------------------------------------


class RunPodWorker(PlatformServer):
    """The package's handler.py under the HTTP server of RunPod's own worker."""

    def __init__(self, folder: Path) -> None:
        port = free_port()
        options = ["--rp_serve_api", "--rp_api_port", str(port), "--rp_api_host", "127.0.0.1"]
        super().__init__(folder, ["handler.py", *options], port)

    def post(self, path: str, asked: Any = None) -> Any:
        body = None if asked is None else {"input": asked}
        return httpx.post(self.url + path, json=body, timeout=60, trust_env=False).json()


@pytest.fixture
def worker(app: str, request: pytest.FixtureRequest) -> Iterator[RunPodWorker]:
    running = RunPodWorker(packed(app, "runpod", "--route", request.param))
    yield running
    running.close()


@pytest.mark.parametrize("worker", ["/"], indirect=True)
def test_runpods_own_worker_runs_the_parcel(worker: RunPodWorker) -> None:
    assert worker.post("/runsync", {"text": "hi"})["output"] == {"text": "HI"}
    assert worker.post("/runsync", {"spillgate_ping": True})["output"] == {"pong": True}
    routed = {"openai_route": "/lists", "openai_input": {"texts": ["a", "b"]}}
    assert worker.post("/runsync", routed)["output"] == ["A", "B"]
    refused = json.loads(worker.post("/runsync", {"text": ""})["error"])
    assert (refused["param"], refused["code"]) == ("text", 400)


@pytest.mark.parametrize("worker", ["/letters"], indirect=True)
def test_runpods_own_worker_streams_a_generator(worker: RunPodWorker) -> None:
    job = worker.post("/run", {"text": "abc"})["id"]
    stream = worker.post(f"/stream/{job}")["stream"]
    assert [piece["output"]["letter"] for piece in stream] == ["A", "B", "C"]


# --- Cog ------------------------------------------------------------------------------------------


class CogServer(PlatformServer):
    """The package's predictor under Cog's own server."""

    health = "/health-check"

    def __init__(self, folder: Path) -> None:
        """With as many slots as its cog.yaml says, which ``cog build`` puts into the image."""
        port = free_port()
        asked = yaml.safe_load((folder / "cog.yaml").read_text())
        slots = asked.get("concurrency", {"max": 1})["max"]
        own = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PORT": str(port),
            "COG_PREDICT_TYPE_STUB": "predict.py:Predictor",
            "COG_MAX_CONCURRENCY": str(slots),
        }
        super().__init__(folder, ["-m", "cog.server.http", "--host", "127.0.0.1"], port, **own)

    def is_up(self, health: httpx.Response) -> bool:
        return bool(health.json()["status"] == "READY")

    def predict(self, **fields: Any) -> Any:
        """Once its one slot is free, which is a moment after the answer before."""
        end = time.monotonic() + 20
        while True:
            answer = httpx.post(
                f"{self.url}/predictions", json={"input": fields}, timeout=60, trust_env=False
            )
            if answer.status_code != 409 or time.monotonic() > end:
                return answer.json()


@pytest.mark.parametrize(
    ("route", "fields", "output"),
    [
        ("/", {"text": "hi"}, {"text": "HI"}),
        ("/letters", {"text": "ab"}, [{"letter": "A"}, {"letter": "B"}]),
        ("/lists", {"body": '{"texts": ["a", "b"]}'}, ["A", "B"]),
    ],
)
def test_cogs_own_server_runs_the_parcel(
    app: str, route: str, fields: dict[str, Any], output: Any
) -> None:
    """A generator's pieces are a list for whoever asks for no stream."""
    server = CogServer(packed(app, "cog", "--route", route))
    try:
        for _ in range(2):
            answer = server.predict(**fields)
            assert (answer["status"], answer["output"]) == ("succeeded", output)
    finally:
        server.close()


def test_calls_that_cog_hands_over_at_once_share_a_batch(app: str) -> None:
    server = CogServer(packed(app, "cog", "--route", "/together"))
    try:
        with ThreadPoolExecutor(4) as callers:
            answers = list(callers.map(lambda text: server.predict(text=text), "abcd"))
        assert [answer["output"] for answer in answers] == ["a of 4", "b of 4", "c of 4", "d of 4"]
    finally:
        server.close()


# --- Modal ----------------------------------------------------------------------------------------

LOCALLY = """\
import json, modal_app
shout = modal_app.LoudShout()
found = [shout.call.local({"text": "hi"}), shout.call.local({"spillgate_ping": True})]
print(json.dumps([*found, list(shout.stream.local({"text": "hi"})), modal_app.app.name]))
"""


def test_modals_own_sdk_runs_the_parcel_locally(app: str) -> None:
    out = packed(app, "modal", "--gpu", "T4")
    done = subprocess.run(
        [sys.executable, "-c", LOCALLY],
        cwd=out,
        env=_bare_environ(),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    whole, pong, pieces, name = json.loads(done.stdout.splitlines()[-1])
    assert (whole, pong, pieces) == ({"text": "HI"}, {"pong": True}, [{"text": "HI"}])
    assert name == "loud-shout"
    assert 'gpu="T4"' in (out / "modal_app.py").read_text()


def _bare_environ() -> dict[str, str]:
    """Without the tree on the path: the package must have all that it needs."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
