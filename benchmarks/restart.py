"""How long nobody serves after a worker was killed: with no spare, and with each sort of one.

    python -m benchmarks.restart [--times 10] [--init 0.5] [--load 0.2]

The model is a file that sleeps ``--load`` seconds while it is imported and ``--init`` seconds in
its init. Measured from SIGKILL to the first answer of another process, by asking without pause.
"beyond the model" takes off what the model itself needs and no spare had done ahead. Also printed:
what each process keeps in memory.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from adapters.errors import BackendError
from adapters.local import Local, LocalSettings
from adapters.types import Call
from gateway.clock import SystemClock
from local_runtime.events import Ahead

APP = """
import os, time
from local_runtime import Runtime

time.sleep({load})
app = Runtime("restart")

@app.init
def init():
    time.sleep({init})
    return {{}}

@app.handler("/")
def pid(context, request):
    return os.getpid()
"""
LONGEST_S = 60.0


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """Of one sort of spare."""

    standby: Ahead
    gaps_s: list[float]
    """From the kill to the next answer."""
    model_s: float
    """What of that the model itself needed."""
    resident_mib: dict[str, float]


async def measure(app: str, standby: Ahead, model_s: float, times: int) -> Measured:
    """Each time with a new backend: a worker that is killed again and again waits for longer."""
    gaps, memory = [], {}
    for _ in range(times):
        backend = Local("bench", LocalSettings(app=app, standby=standby), SystemClock())
        await backend.start()
        try:
            gaps.append(await one_gap(backend, standby))
            memory = resident(await other_than(backend, 0))
        finally:
            await backend.aclose()
    return Measured(standby=standby, gaps_s=gaps, model_s=model_s, resident_mib=memory)


async def one_gap(backend: Local, standby: Ahead) -> float:
    worker = await other_than(backend, 0)
    while standby != "none" and not backend.spares:
        await asyncio.sleep(0.02)
    begun = time.perf_counter()
    os.kill(worker, signal.SIGKILL)
    await other_than(backend, worker)
    return time.perf_counter() - begun


async def other_than(backend: Local, pid: int) -> int:
    """Asks until another process than ``pid`` answers."""
    end = time.monotonic() + LONGEST_S
    while time.monotonic() < end:
        try:
            reply = await backend.invoke(Call(id="x", model="m", task="infer", body=b"{}"))
        except BackendError:
            await asyncio.sleep(0.001)
            continue
        if (found := int(reply.body)) != pid:
            return found
    raise TimeoutError(f"nobody answered within {LONGEST_S:g} s")


def resident(worker: int) -> dict[str, float]:
    """MiB of the worker and of its supervisor, as the kernel counts them."""
    parent = int(Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[1])
    return {"worker": _resident(worker), "supervisor": _resident(parent)}


def _resident(pid: int) -> float:
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


def _show(measured: Measured) -> None:
    gaps = sorted(measured.gaps_s)
    median = statistics.median(gaps)
    memory = ", ".join(f"{name} {mib:.0f} MiB" for name, mib in measured.resident_mib.items())
    print(
        f"{measured.standby:9} p50 {median:6.3f} s  max {gaps[-1]:6.3f} s  "
        f"beyond the model p50 {median - measured.model_s:6.3f} s  "
        f"max {gaps[-1] - measured.model_s:6.3f} s  ({memory})",
        flush=True,
    )


async def _main(options: argparse.Namespace) -> None:
    model: dict[Ahead, float] = {
        "none": options.load + options.init,
        "imported": options.init,
        "loaded": 0.0,
    }
    with tempfile.TemporaryDirectory() as folder:
        app = Path(folder, "restart_app.py")
        app.write_text(APP.format(load=options.load, init=options.init))
        for standby, model_s in model.items():
            _show(await measure(f"{app}:app", standby, model_s, options.times))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--load", type=float, default=0.2, help="seconds of the app's import")
    parser.add_argument("--init", type=float, default=0.5, help="seconds of the app's init")
    asyncio.run(_main(parser.parse_args(arguments)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
