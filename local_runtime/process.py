"""The supervisor as a child process of whoever calls its workers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from local_runtime.crew_events import FromSupervisor, Keep, decode_from_supervisor
from local_runtime.wire import FrameTooLarge, frame, read_frames

END_S = 10.0
"""How long the supervisor may take to end its workers and itself."""
_LONGEST_SOCKET = len("/worker-999.sock")
_SUN_PATH = 107


class Garbled(Exception):
    """What came by the supervisor's stdout is no frame: something beside it prints there, such as
    a sitecustomize module."""


class SupervisorProcess:
    """Runs the module ``program`` until its end. ``changed`` is called with each thing that it
    reports. Ending this process by any means ends that one, by its stdin."""

    def __init__(
        self,
        arguments: Sequence[str],
        changed: Callable[[FromSupervisor], None],
        program: str = "local_runtime.supervise",
        sockets: str | None = None,
    ) -> None:
        """``sockets`` is where the workers listen; a new folder unless given."""
        self._program = program
        self._sockets = sockets
        self._arguments = arguments
        self._changed = changed
        self._process: asyncio.subprocess.Process | None = None
        self._ending = False
        self._kept: Keep | None = None
        self.running = False

    async def run(self) -> int:
        """Starts it and waits for its end; its exit status. Raises OSError when it cannot be
        started, and Garbled when it was ended for what it said."""
        folder = socket_folder() if self._sockets is None else own_folder(self._sockets)
        self.running = True
        try:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", self._program, "--dir", folder),
                *self._arguments,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                start_new_session=True,
            )
            if self._ending:
                self.ask_to_end()
            return await self._listen(self._process)
        except (FrameTooLarge, msgspec.DecodeError) as error:
            self.kill()
            raise Garbled(str(error)) from None
        finally:
            self._process, self._kept, self.running = None, None, False
            shutil.rmtree(folder, ignore_errors=True)

    def ask_to_end(self) -> None:
        """Lets it end its workers and exit; ``run`` returns then."""
        self._ending = True
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()

    def keep(self, keep: Keep) -> None:
        """Tells a supervisor whose workers come and go which there should be, unless it knows."""
        if self._process is not None and self._process.stdin is not None and keep != self._kept:
            self._kept = keep
            self._process.stdin.write(frame(keep))

    def kill(self) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGKILL)

    async def _listen(self, process: asyncio.subprocess.Process) -> int:
        assert process.stdout is not None
        async for payload in read_frames(process.stdout):
            self._changed(decode_from_supervisor(payload))
        return await process.wait()


def socket_folder() -> str:
    """A new folder that only this user may enter, its path short enough for a Unix socket in it
    (``sun_path`` holds 108 bytes on Linux: man 7 unix)."""
    folder = tempfile.mkdtemp(prefix="spillgate-")
    if len(folder.encode()) + _LONGEST_SOCKET > _SUN_PATH:
        shutil.rmtree(folder)
        folder = tempfile.mkdtemp(prefix="spillgate-", dir="/tmp")
    return folder


def own_folder(path: str) -> str:
    """The folder of the user's choice, made where it is missing. Raises OSError unless it belongs
    to this user alone, holds nothing but sockets of workers, and leaves room for their names."""
    folder = Path(path).absolute()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.stat()
    if found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise OSError(f"{folder} must belong to this user alone (mode 0700): who enters may call")
    if any(not entry.match("worker-*.sock") for entry in folder.iterdir()):
        raise OSError(
            f"{folder} holds other files; it is removed at the end, so give one of its own"
        )
    if len(str(folder).encode()) + _LONGEST_SOCKET > _SUN_PATH:
        raise OSError(f"{folder} is too long a path for a Unix socket ({_SUN_PATH} bytes)")
    return str(folder)
