"""The tutorial, from top to bottom: its files, its commands, RunPod's own worker, and its sums."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import pytest

from tests.live import ROOT, free_port
from tests.snippets import snippets_of
from tests.test_docs import clean_environ
from tests.waiting import wait_until

PAGE = ROOT / "docs" / "tutorial.md"
KEY = "your-runpod-key"


def blocks(language: str) -> list[str]:
    return [one.text for one in snippets_of(PAGE) if one.language == language]


class Reader:
    """Who does as the page says, in a folder of his own; ports and the platform's URL are those of
    this machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port, self.platform = free_port(), free_port()
        self.environ: Mapping[str, str] = clean_environ()

    def here(self, text: str) -> str:
        text = text.replace("https://api.runpod.ai/v2", f"http://127.0.0.1:{self.platform}/v2")
        return text.replace("127.0.0.1:8443", f"127.0.0.1:{self.port}")

    def write_files(self) -> None:
        for text in (*blocks("python"), *blocks("yaml")):
            name = text.splitlines()[0].removeprefix("# ")
            (self.folder / name).write_text(self.here(text) + "\n")

    def run(self, *texts: str) -> str:
        bash = ("bash", "--noprofile", "--norc", "-euo", "pipefail", "-c")
        done = subprocess.run(
            [*bash, self.here("\n".join(texts))],
            cwd=self.folder,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return done.stdout

    def begin(self, log: Path, *command: str, **environ: str) -> subprocess.Popen[bytes]:
        with log.open("ab") as out:
            return subprocess.Popen(
                command,
                cwd=self.folder if command[0] != sys.executable else ROOT,
                env={**self.environ, "RUNPOD_API_KEY": KEY, **environ},
                stdout=out,
                stderr=out,
            )

    def answers(self, url: str, verify: bool = True) -> bool:
        try:
            return httpx.get(url, verify=verify, trust_env=False).status_code < 500
        except httpx.TransportError:
            return False


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    """With the model packed, and the endpoint made of it: a queue before RunPod's own worker."""
    reader = Reader(tmp_path)
    reader.write_files()
    packing, checking, *_ = blocks("bash")
    told = reader.run(packing)
    assert "kind: runpod" in told
    assert "valid: policy" in reader.run(checking)
    front = [sys.executable, "-m", "examples.overflow", "--port", str(reader.platform)]
    front += ["--endpoint", "abc123", "--worker", "handler", "--max-workers", "3"]
    path = f"{tmp_path / 'greeter-runpod'}{os.pathsep}{ROOT}"
    platform = reader.begin(tmp_path / "platform.log", *front, PYTHONPATH=path)
    serve = blocks("bash")[2].split()
    gateway = reader.begin(tmp_path / "gateway.log", *[reader.here(word) for word in serve])
    try:
        wait_until(
            lambda: reader.answers(f"https://127.0.0.1:{reader.port}/readyz", verify=False),
            "the gateway is ready",
            within_s=90,
        )
        yield reader
    finally:
        for process in (gateway, platform):
            process.terminate()
            process.wait(30)


def test_the_tutorial_does_what_it_says(reader: Reader) -> None:
    said = reader.run(*blocks("bash")[3:])
    assert '"Hello, Ada!"' in said
    assert re.search(r"(?i)x-spillgate-backend: home", said)
    counted = {name: int(n) for n, name in re.findall(r"(\d+) \S+: (home|burst)", said)}
    assert sum(counted.values()) == 40
    assert counted.keys() == {"home", "burst"}
    told, booked = re.findall(r"([\d.]+) USD", said)[-2:]
    assert 0 < float(told) == float(booked)
