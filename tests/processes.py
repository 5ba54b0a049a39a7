"""What a test run starts does not outlive it, and what a test starts does not outlive its file."""

from __future__ import annotations

import contextlib
import os
import sys
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.run_guard import VARIABLE, marked
from tests.waiting import wait_until

_TRACKER = "multiprocessing.resource_tracker"
"""Started once a process, and ends with it."""
_LASTING = "SPILLGATE_TEST_LASTS"
_GUARD = Path(__file__).with_name("run_guard.py")


def begin_run() -> str:
    """Marks all that this process starts from now on, and has it killed when this process is gone.

    Returns the word. A run inside a run, as xdist's workers are, adds to the word of the outer one.
    """
    outer = os.environ.get(VARIABLE)
    unmarked = {name: value for name, value in os.environ.items() if name != VARIABLE}
    word = f"{outer}/{uuid.uuid4().hex}" if outer else uuid.uuid4().hex
    os.environ[VARIABLE] = word
    nothing = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0) for number in range(3)]
    command = [sys.executable, "-I", "-S", str(_GUARD), str(os.getpid()), word]
    os.posix_spawn(sys.executable, command, unmarked, file_actions=nothing, setsid=True)
    return word


@contextlib.contextmanager
def lasting() -> Iterator[None]:
    """What a test starts in here is for the tests of other files too."""
    os.environ[_LASTING] = "yes"
    try:
        yield
    finally:
        del os.environ[_LASTING]


def assert_nothing_is_left(word: str, file: str = "", *, within_s: float) -> None:
    """Raises AssertionError for what the tests of a file have started and not ended.

    What is ending has ``within_s`` to end. Without a file, for whatever was started. What a
    fixture started may serve the tests of other files too: that is looked at in the end alone.
    """

    def left() -> list[str]:
        return [
            f"{command} ({pid}), of {_test_of(environ)}"
            for pid, environ in marked(word).items()
            if not (file and _outlives(file, environ))
            if _TRACKER not in (command := _command_of(pid))
        ]

    with contextlib.suppress(AssertionError):  # the words below say more
        wait_until(lambda: not left(), within_s=within_s)
    assert not (said := left()), "still running:\n  " + "\n  ".join(said)


def _test_of(environ: Mapping[str, str]) -> str:
    """The test in which a process was started, and its phase, as pytest writes them down."""
    return environ.get("PYTEST_CURRENT_TEST", "")


def _outlives(file: str, environ: Mapping[str, str]) -> bool:
    test = _test_of(environ)
    of_the_file = test.startswith(f"{file}::") and not test.endswith(" (setup)")
    return _LASTING in environ or not of_the_file


def _command_of(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace").replace("\0", " ").strip()
    return ""
