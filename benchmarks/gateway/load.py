"""Load: wrk posts JSON over kept connections and says how it went."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec

from benchmarks.gateway.target import Target

SCRIPT = Path(__file__).with_name("post.lua")
MARK = "result "


class LoadFailed(Exception):
    """wrk could not say how it went."""


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """What wrk saw."""

    requests: int
    duration_us: int
    p50_us: float
    p99_us: float
    refused: int
    """Answers with a status of 400 or more."""
    broken: int
    """Connections refused, cut or timed out."""

    @property
    def per_second(self) -> float:
        return self.requests / (self.duration_us / 1e6)


def parse_wrk(output: str) -> Answered:
    """Raises LoadFailed where the output lacks the script's line."""
    for line in output.splitlines():
        if line.startswith(MARK):
            return msgspec.json.decode(line.removeprefix(MARK), type=Answered)
    raise LoadFailed(f"wrk printed no result: {output.strip()[-300:]}")


def put_load(target: Target, *, seconds: float, connections: int, size: int = 0) -> Answered:
    """One thread of wrk, which is more than a core's worth of any gateway; bodies are padded to
    ``size`` bytes."""
    return post(
        target.url + target.path,
        target.body(size=size),
        key=target.key,
        seconds=seconds,
        connections=connections,
        headers=target.headers,
        keys=target.keys,
    )


def post(
    url: str,
    payload: bytes,
    *,
    key: str,
    seconds: float,
    connections: int,
    headers: Sequence[tuple[str, str]] = (),
    keys: Sequence[str] = (),
) -> Answered:
    """The same body again and again, for whole seconds, with the key or with ``keys`` in turn.
    Raises LoadFailed."""
    whole = max(1, round(seconds))
    command = ["wrk", "-t1", f"-c{connections}", f"-d{whole}s", "--timeout", "20s"]
    more = "".join(f"{name}: {value}\n" for name, value in headers)
    with tempfile.TemporaryDirectory() as folder:  # a variable holds 128 KiB at the most
        (Path(folder) / "body").write_bytes(payload)
        (Path(folder) / "keys").write_text("\n".join(keys or [key]))
        done = subprocess.run(
            [*command, "-s", str(SCRIPT), url],
            env={
                **os.environ,
                "BENCH_FOLDER": folder,
                "BENCH_HEADERS": more,
            },
            capture_output=True,
            text=True,
            timeout=whole + 40,
        )
    return parse_wrk(done.stdout + done.stderr)
