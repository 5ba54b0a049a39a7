"""The runtime without contenders: overhead, latency and memory of its own."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec

from adapters.types import Call
from benchmarks.entry import Say
from benchmarks.gateway.accounting import family, memory
from benchmarks.gateway.load import post
from benchmarks.gateway.processes import HOST, ROOT, Child, free_port
from benchmarks.gateway.target import PATH, Target, body
from benchmarks.gateway.upstream import status
from benchmarks.restart import measure
from benchmarks.runtime.apps.payload import sample
from benchmarks.runtime.measure import Plan
from local_runtime.protocol.events import Standby

STANDBYS: tuple[Standby, ...] = ("none", "loaded")
LIMIT = 120.0
"""Seconds that one measurement may take."""
READY = 60.0


class Unloaded(msgspec.Struct, frozen=True, kw_only=True):
    """Medians, in milliseconds."""

    bare_ms: float
    """One call of the model in a bare loop."""
    framed_ms: float
    """What a call over the framed socket takes beyond that."""
    http_ms: float
    """What a call over HTTP takes beyond that."""


class Alone(msgspec.Struct, frozen=True, kw_only=True):
    overheads: tuple[float, ...]
    """Per cent that a saturated device loses to the runtime, round by round."""
    unloaded: tuple[Unloaded, ...]
    resident_mib: dict[str, float]
    """By the name of the process, none of which has imported torch."""
    restarts_s: dict[Standby, tuple[float, ...]]
    """By the sort of spare: from the kill of a worker to the next answer, beyond what the model
    itself needs to be loaded."""


class Rate(msgspec.Struct, frozen=True):
    device_us: float
    """Of one item."""


def measure_alone(plan: Plan, folder: Path, say: Say) -> Alone:
    folder.mkdir(parents=True, exist_ok=True)
    overheads, unloaded = [], []
    for number in range(plan.rounds):
        say(f"overhead, round {number + 1} of {plan.rounds}")
        overheads.append(_overhead(plan))
    server = _Server("benchmarks/runtime/apps/ours.py", folder / "ours.log")
    with server.child:
        server.wait()
        for number in range(plan.rounds):
            say(f"unloaded, round {number + 1} of {plan.rounds}")
            unloaded.append(_unloaded(server.url, plan))
    say("memory")
    memory_mib = resident(folder / "trivial.log")
    return Alone(
        overheads=tuple(overheads),
        unloaded=tuple(unloaded),
        resident_mib=memory_mib,
        restarts_s={standby: _restarts(standby, plan, say) for standby in STANDBYS},
    )


def _restarts(standby: Standby, plan: Plan, say: Say) -> tuple[float, ...]:
    say(f"kills, with standby {standby}")
    call = Call(id="bench", model="mlp", task="infer", body=json.dumps(sample()).encode())
    app = "benchmarks/runtime/apps/ours.py:app"
    measured = asyncio.run(measure(app, standby, call, plan.rounds, handler="/one"))
    return tuple(measured.beyond_s)


class _Server:
    """The stand-alone server of one app, with one worker."""

    def __init__(self, app: str, log: Path) -> None:
        port = free_port()
        self.url = f"http://{HOST}:{port}"
        command = [sys.executable, "-m", "local_runtime", app, "--port", str(port)]
        self.child = Child([*command, "--threads", "1"], log=log)

    def wait(self) -> None:
        def ready() -> bool:
            return status(Target(url=self.url), "/readyz") == 200

        self.child.wait_until(ready, what="the stand-alone server", deadline=READY)


def _overhead(plan: Plan) -> float:
    core, seconds = str(max(os.sched_getaffinity(0))), str(plan.seconds)
    options = ("--core", core, "--seconds", seconds)
    bare, ours = (
        msgspec.json.decode(_framed(what, *options), type=Rate).device_us
        for what in ("bare", "saturated")
    )
    return (ours / bare - 1) * 100


def _unloaded(url: str, plan: Plan) -> Unloaded:
    counts = ("--blocks", str(plan.blocks), "--block", str(plan.block))
    return msgspec.json.decode(_framed("unloaded", "--url", f"{url}/one", *counts), type=Unloaded)


def _framed(*arguments: str) -> bytes:
    command = [sys.executable, "-m", "benchmarks.runtime.framed", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, timeout=LIMIT, check=True
    )
    return done.stdout


def resident(log: Path) -> dict[str, float]:
    """MiB of each process that serves a model without torch, after some thousand calls."""
    server = _Server("benchmarks/apps/trivial.py", log)
    with server.child:
        server.wait()
        post(server.url + PATH, body(), key="none", seconds=2, connections=32)
        pids = sorted(family(server.child.pid).own)
        return {_role(pid): memory([pid]).rss for pid in pids}


def _role(pid: int) -> str:
    command = Path(f"/proc/{pid}/cmdline").read_bytes()
    for role in ("worker", "supervise"):
        if f"local_runtime.{role}".encode() in command:
            return role
    return "server"
