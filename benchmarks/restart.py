"""How long nobody serves after a worker was killed: with no spare, and with each sort of one.

    python -m benchmarks.restart [--times 10] [--init 0.5] [--load 0.2]
    python -m benchmarks.restart --app examples/embeddings.py:app --task embeddings \\
        --body '{"input": "a"}'

Without ``--app`` the model is a file that sleeps ``--load`` seconds while it is imported and
``--init`` seconds in its init. Measured from SIGKILL to the first answer after it, by asking
without pause. "Beyond the model" takes off what the worker's own stages (import, init, warm-up)
took that no spare had done ahead; what is left has the end of the killed process in it, whose
memory the kernel takes back before anybody hears of it. Also printed: what each process keeps
in memory.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import re
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import msgspec

from adapters.errors import BackendError, FailureClass
from adapters.local.backend import Local
from adapters.local.settings import LocalSettings
from adapters.types import Call, Task
from gateway.clock import SystemClock
from local_runtime.client.start_times import waited_for
from local_runtime.protocol.events import Standby

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

    standby: Standby
    gaps_s: list[float]
    """From each kill to the next answer."""
    model_s: list[float]
    """What of that the model itself needed."""
    resident_mib: dict[str, float]

    @property
    def beyond_s(self) -> list[float]:
        """What is left of each gap without the model's own part."""
        return [gap - model for gap, model in zip(self.gaps_s, self.model_s, strict=True)]


async def measure(
    app: str, standby: Standby, call: Call, times: int, handler: str | None = None
) -> Measured:
    """Each time with a new backend: a worker that is killed again and again waits for longer."""
    gaps, models, memory = [], [], {}
    settings = LocalSettings(app=app, standby=standby, handler=handler, threads=1)
    for _ in range(times):
        backend = Local("bench", settings, SystemClock())
        await backend.start()
        try:
            gaps.append(await one_gap(backend, standby, call))
            stages = backend.start_stages
            process_s = stages["process"] if standby == "none" else 0.0
            models.append(waited_for(stages, standby) - process_s)
            memory = resident()
        finally:
            await backend.aclose()
    return Measured(standby=standby, gaps_s=gaps, model_s=models, resident_mib=memory)


async def one_gap(backend: Local, standby: Standby, call: Call) -> float:
    await answered(backend, call)
    while standby != "none" and not backend.spares:
        await asyncio.sleep(0.02)
    worker = next(pid for pid, words in workers().items() if "none" in words)
    begun = time.perf_counter()
    os.kill(worker, signal.SIGKILL)
    await answered(backend, call)
    return time.perf_counter() - begun


async def answered(backend: Local, call: Call) -> None:
    """Asks until there is an answer."""
    end = time.monotonic() + LONGEST_S
    while time.monotonic() < end:
        try:
            await backend.invoke(call)
        except BackendError as error:
            if error.failure not in (FailureClass.LOADING, FailureClass.WORKER_DIED):
                raise
            await asyncio.sleep(0.001)
        else:
            return
    raise TimeoutError(f"nobody answered within {LONGEST_S:g} s")


def workers() -> dict[int, list[str]]:
    """The command lines of the workers and spares of this process."""
    found = {}
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            words = (entry / "cmdline").read_text().split("\0")
            if "local_runtime.worker" in words and _parent(_parent(int(entry.name))) == os.getpid():
                found[int(entry.name)] = words
    return found


def _parent(pid: int) -> int:
    """Field 4 of /proc/PID/stat (man 5 proc)."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def resident() -> dict[str, float]:
    """MiB of a worker and of its supervisor, as the kernel counts them."""
    worker = max(workers())
    return {"worker": _resident(worker), "supervisor": _resident(_parent(worker))}


def _resident(pid: int) -> float:
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


def _show(measured: Measured) -> None:
    gaps = sorted(measured.gaps_s)
    beyond = sorted(measured.beyond_s)
    memory = ", ".join(f"{name} {mib:.0f} MiB" for name, mib in measured.resident_mib.items())
    print(
        f"{measured.standby:9} p50 {statistics.median(gaps):6.3f} s  max {gaps[-1]:6.3f} s  "
        f"beyond the model p50 {statistics.median(beyond):6.3f} s  max {beyond[-1]:6.3f} s  "
        f"({memory})",
        flush=True,
    )


async def _main(options: argparse.Namespace) -> None:
    call = Call(id="x", model="m", task=options.task, body=options.body.encode())
    with tempfile.TemporaryDirectory() as folder:
        asleep = Path(folder, "restart_app.py")
        asleep.write_text(APP.format(load=options.load, init=options.init))
        for standby in get_args(Standby):
            _show(await measure(options.app or f"{asleep}:app", standby, call, options.times))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--app", help="folder/file.py:app; left out: one that sleeps")
    parser.add_argument("--task", default="infer", choices=get_args(Task))
    parser.add_argument("--body", default="{}", help="the JSON of the call that is asked")
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--load", type=float, default=0.2, help="seconds of the app's import")
    parser.add_argument("--init", type=float, default=0.5, help="seconds of the app's init")
    asyncio.run(_main(parser.parse_args(arguments)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
