"""The runtime stands without torch."""

from __future__ import annotations

import subprocess
import sys


def test_importing_the_runtime_and_its_worker_loads_no_torch() -> None:
    program = (
        "import sys, local_runtime, local_runtime.worker.process, local_runtime.server.serve\n"
        "print([name for name in ('torch', 'safetensors', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == "[]", done.stderr
