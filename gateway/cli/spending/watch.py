"""``spillgate usage --watch``: the report again and again."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable

from gateway.cli.shared import is_terminal


def watch(render: Callable[[], str], every_s: float) -> int:
    """Exit status 0, by Ctrl-C. On a terminal the report is drawn in its place; in a pipe each
    follows the last after an empty line."""
    with contextlib.suppress(KeyboardInterrupt):
        if is_terminal(sys.stdout):
            # Imported here because what is piped is not drawn.
            from gateway.cli.terminal import redrawn

            redrawn(render, every_s)
        while True:
            print(render(), flush=True)
            time.sleep(every_s)
    return 0
