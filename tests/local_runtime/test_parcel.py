"""An app packed for another platform runs there, by that platform's own software."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from local_runtime.parcel.__main__ import main
from local_runtime.parcel.cog import fields_of
from local_runtime.parcel.contents import Unpackable, parcel_of, requirements_of
from tests.live import dies_with_us, free_port
from tests.waiting import wait_until

WORDS = "def loud(text: str) -> str:\n    return text.upper()\n"
APP = """\
from local_runtime import InvalidInput, Runtime
from words import loud

app = Runtime("Loud shout")


@app.handler("/", warmup={"text": "hello"})
def shout(context, request):
    if not request.json.get("text"):
        raise InvalidInput("text must not be empty", param="text")
    return {"text": loud(request.json["text"])}


@app.handler("/letters", warmup={"text": "hello"})
def letters(context, request):
    for letter in request.json["text"]:
        yield {"letter": loud(letter)}


@app.handler("/lists", warmup={"texts": ["a"]})
def lists(context, request):
    return [loud(text) for text in request.json["texts"]]
"""


@pytest.fixture
def app(tmp_path: Path) -> str:
    (tmp_path / "shout.py").write_text(APP)
    (tmp_path / "words.py").write_text(WORDS)
    return f"{tmp_path / 'shout.py'}:app"


def packed(app: str, platform: str, *options: str) -> Path:
    out = Path(app).parent / platform
    assert main([app, "--for", platform, "--out", str(out), *options]) == 0
    return out


# --- what is in it --------------------------------------------------------------------------------


def test_a_parcel_is_whole(app: str) -> None:
    """The app, the neighbour that it imports, the runtime, and the platform's files."""
    out = packed(app, "runpod")
    names = {"handler.py", "Dockerfile", "requirements.txt", "shout.py", "words.py"}
    assert {path.name for path in out.iterdir()} == names | {"local_runtime"}
    assert not (out / "local_runtime" / "parcel").exists()


def test_a_runtime_that_lies_beside_the_app_is_no_neighbour(app: str) -> None:
    """In a checkout of this project it does, and the parcel has one anyway."""
    (Path(app).parent / "local_runtime").mkdir()
    (Path(app).parent / "local_runtime" / "__init__.py").touch()
    assert (packed(app, "cog") / "local_runtime" / "hosted.py").exists()


def test_what_the_app_imports_is_required_in_the_version_that_is_here(tmp_path: Path) -> None:
    source = tmp_path / "app.py"
    source.write_text("import json\nimport httpx\nfrom local_runtime import Runtime\n")
    wanted = requirements_of((source,))
    assert [one.partition("==")[0] for one in wanted] == ["httpx", "msgspec", "uvloop"]
    assert f"httpx=={httpx.__version__}" in wanted


def test_nothing_is_overwritten_unless_it_is_forced(
    app: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = packed(app, "modal")
    (out / "modal_app.py").write_text("mine")
    (out / "requirements.txt").unlink()
    assert main([app, "--for", "modal", "--out", str(out)]) == 2
    assert "--force" in capsys.readouterr().err
    assert (out / "modal_app.py").read_text() == "mine"
    assert not (out / "requirements.txt").exists()
    packed(app, "modal", "--force")
    assert (out / "modal_app.py").read_text() != "mine"


@pytest.mark.parametrize(
    ("name", "options", "why"),
    [
        ("shout.py:nobody", (), "has nothing named"),
        ("none.py:app", (), "no such file"),
        ("package.module:app", (), "names no file"),
        ("shout.py:app", ("--route", "/none"), "/letters"),
    ],
)
def test_what_cannot_be_packed_is_refused_with_a_reason(
    app: str, capsys: pytest.CaptureFixture[str], name: str, options: tuple[str, ...], why: str
) -> None:
    given = f"{Path(app).parent / name}" if "module" not in name else name
    assert main([given, "--for", "cog", *options]) == 2
    assert why in capsys.readouterr().err


def test_an_app_that_bears_a_name_of_the_platforms_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "handler.py").write_text(APP.replace("from words import loud", "loud = str.upper"))
    assert main([f"{tmp_path / 'handler.py'}:app", "--for", "runpod"]) == 2


def test_the_only_route_need_not_be_named(tmp_path: Path) -> None:
    source = 'from local_runtime import Runtime\napp = Runtime("x")\n'
    routes = (
        '@app.handler("/a")\ndef a(context, request): ...\n',
        '@app.handler("/b")\nasync def b',
    )
    (tmp_path / "one_route.py").write_text(source + routes[0])
    assert parcel_of(f"{tmp_path / 'one_route.py'}:app").route == "/a"
    (tmp_path / "two_routes.py").write_text("".join((source, *routes, "(context, request): ...\n")))
    with pytest.raises(Unpackable, match="/a, /b"):
        parcel_of(f"{tmp_path / 'two_routes.py'}:app")


def test_inputs_of_cog_are_the_fields_of_the_sample_where_these_are_plain() -> None:
    assert fields_of({"text": "a", "times": 1, "loud": True}) == {
        "text": "str",
        "times": "int",
        "loud": "bool",
    }
    for sample in (None, 7, {}, {"texts": ["a"]}, {"no name": 1}, {"class": 1}, {"self": 1}):
        assert fields_of(sample) is None


# --- RunPod ---------------------------------------------------------------------------------------


class RunPodWorker:
    """The parcel's handler.py under the HTTP server of RunPod's own worker."""

    def __init__(self, folder: Path) -> None:
        self.url = f"http://127.0.0.1:{(port := free_port())}"
        options = ["--rp_serve_api", "--rp_api_port", str(port), "--rp_api_host", "127.0.0.1"]
        self.process = subprocess.Popen(
            dies_with_us([sys.executable, "handler.py", *options]),
            cwd=folder,
            env=_bare_environ(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_until(self.ready, within_s=60)
        except BaseException:
            self.close()
            raise

    def ready(self) -> bool:
        assert self.process.poll() is None, "RunPod's worker has ended"
        try:
            return httpx.get(f"{self.url}/", trust_env=False).status_code == 200
        except httpx.TransportError:
            return False

    def post(self, path: str, asked: Any = None) -> Any:
        body = None if asked is None else {"input": asked}
        return httpx.post(self.url + path, json=body, timeout=60, trust_env=False).json()

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(15)


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


class CogServer:
    """The parcel's predictor under Cog's own server."""

    def __init__(self, folder: Path) -> None:
        self.url = f"http://127.0.0.1:{(port := free_port())}"
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        own = {"PATH": path, "PORT": str(port), "COG_PREDICT_TYPE_STUB": "predict.py:Predictor"}
        self.process = subprocess.Popen(
            dies_with_us([sys.executable, "-m", "cog.server.http", "--host", "127.0.0.1"]),
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
        assert self.process.poll() is None, "Cog's server has ended"
        try:
            health = httpx.get(f"{self.url}/health-check", trust_env=False)
        except httpx.TransportError:
            return False
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

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(15)


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
    """Without the tree on the path: the parcel must have all that it needs."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
