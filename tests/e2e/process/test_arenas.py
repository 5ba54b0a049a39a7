"""How many places a process of many threads takes its memory from."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

PROGRAM = """
import ctypes, threading
from gateway.cli.serving import arenas
arenas.share_one()
together = threading.Barrier(4)
def take():
    together.wait()
    kept.append(bytearray(100_000))
    together.wait()
kept = []
threads = [threading.Thread(target=take) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
libc = ctypes.CDLL(None)
libc.malloc_info(0, ctypes.c_void_p.in_dll(libc, "stdout"))
libc.fflush(None)
"""


@pytest.mark.parametrize(("said", "shared"), [({}, True), ({"MALLOC_ARENA_MAX": "64"}, False)])
def test_threads_share_one_unless_it_was_said_otherwise(said: dict[str, str], shared: bool) -> None:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC")}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environ | said, capture_output=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert (done.stdout.count(b"<heap nr=") == 1) == shared
