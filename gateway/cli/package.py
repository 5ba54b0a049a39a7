"""``spillgate package``: the few files that run an app on another platform.

The app's code is imported to be looked at, so that is done in a process of its own.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

EXAMPLE = "spillgate package shout.py:app --for runpod --out shout-runpod"


def main(arguments: Sequence[str]) -> int:
    """Hands over to the runtime's own packaging; its exit status."""
    command = [sys.executable, "-m", "local_runtime.packaging", *arguments]
    return subprocess.run(command, check=False).returncode  # noqa: S603 # it is this project's own
