"""The supervisor as a child process of whoever calls its workers."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import sys
from collections.abc import Callable, Mapping, Sequence

import msgspec

from local_runtime.client.socket_folder import locked, new_folder
from local_runtime.protocol.scale_events import FromSupervisor, Keep, decode_from_supervisor
from local_runtime.protocol.wire import FrameTooLarge, frame, read_frames

END_S = 10.0
"""How long the supervisor may take to end its workers and itself."""


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
        program: str = "local_runtime.supervisor",
        sockets: str | None = None,
        environment: Mapping[str, str] | None = None,
        python: str | None = None,
    ) -> None:
        """``sockets`` is where the workers listen; a new folder unless given. ``environment`` is
        what it and its workers have, ``python`` their interpreter; None: this process's own."""
        self._python = python or sys.executable
        self._environment = environment
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
        if self._sockets is None:
            return await self._run_in(new_folder())
        with locked(self._sockets) as (folder, lock):
            return await self._run_in(folder, lock)

    async def _run_in(self, folder: str, *inherited: int) -> int:
        self.running = True
        try:
            self._process = await asyncio.create_subprocess_exec(
                *(self._python, "-m", self._program, "--dir", folder),
                *self._arguments,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                pass_fds=inherited,
                start_new_session=True,
                env=self._environment,
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
        """Ends it at once; its workers end with it."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGKILL)

    async def _listen(self, process: asyncio.subprocess.Process) -> int:
        assert process.stdout is not None
        async for payload in read_frames(process.stdout):
            self._changed(decode_from_supervisor(payload))
        return await process.wait()
