"""One worker process as its supervisor holds it: its pipes, its end."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator

import msgspec

from local_runtime.events import LifeSign
from local_runtime.logs import LineSplitter, LogWriter
from local_runtime.wire import decode_life_sign, read_frames

GRACE_S = 5.0
"""How long a handler that was told to stop may take to come back."""
_PIPE_BYTES = 256 * 1024


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """How a worker is started."""

    app: str
    index: int
    socket: str
    device: str = "auto"
    threads: int | None = None
    grace_s: float = GRACE_S
    max_frame: int

    def command(self, life_fd: int) -> list[str]:
        """The command line; ``life_fd`` is the descriptor it inherits."""
        options = {
            "index": self.index,
            "socket": self.socket,
            "life-fd": life_fd,
            "parent": os.getpid(),
            "device": self.device,
            "grace": self.grace_s,
            "max-frame": self.max_frame,
        }
        flags = [text for name, value in options.items() for text in (f"--{name}", str(value))]
        return [sys.executable, "-u", "-m", "local_runtime.worker", *flags, "--", self.app]

    def environment(self) -> dict[str, str]:
        """SPILLGATE_DEVICE says what the app should use; a worker on the CPU sees no GPU."""
        added = {"SPILLGATE_DEVICE": self.device, "SPILLGATE_WORKER": str(self.index)}
        if self.device == "cpu":
            added["CUDA_VISIBLE_DEVICES"] = ""
        if self.threads is not None:
            added |= {"OMP_NUM_THREADS": str(self.threads), "MKL_NUM_THREADS": str(self.threads)}
        return {**os.environ, **added}


class Child:
    """A process in a group of its own, so that whatever it starts ends with it."""

    def __init__(self, process: asyncio.subprocess.Process, life: asyncio.StreamReader) -> None:
        self._process = process
        self._life = life
        self._lines = LineSplitter()

    @classmethod
    async def start(cls, launch: Launch) -> Child:
        read_fd, write_fd = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                *launch.command(write_fd),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                pass_fds=(write_fd,),
                start_new_session=True,
                env=launch.environment(),
                limit=_PIPE_BYTES,
            )
        except BaseException:
            os.close(read_fd)
            raise
        finally:
            os.close(write_fd)
        return cls(process, await _reader(read_fd))

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def last_line(self) -> str:
        """The last thing it printed."""
        tail = self._lines.tail
        return tail[-1].decode(errors="replace").strip() if tail else ""

    async def life_signs(self) -> AsyncIterator[LifeSign]:
        """What it reports, until it is gone."""
        async for payload in read_frames(self._life):
            yield decode_life_sign(payload)

    async def pass_logs(self, writer: LogWriter, mark: bytes) -> None:
        """Hands on what it prints, each line behind ``mark``, until it is gone."""
        assert self._process.stdout is not None
        while data := await self._process.stdout.read(_PIPE_BYTES):
            for line in self._lines.feed(data):
                writer.write(mark + line)
        for line in self._lines.flush():
            writer.write(mark + line)

    async def exited(self) -> int:
        """The exit status; negative for a signal. Ends the rest of its group too."""
        status = await self._process.wait()
        self.kill()
        return status

    def ask_to_end(self) -> None:
        """Lets calls under way end, then exit."""
        if self._process.stdin is not None:
            self._process.stdin.close()

    def kill(self) -> None:
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            return


async def _reader(fd: int) -> asyncio.StreamReader:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    pipe = os.fdopen(fd, "rb", buffering=0)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
    return reader


def exit_words(status: int) -> str:
    """'was killed by SIGKILL (out of memory?)' or 'exited with status 3'."""
    if status >= 0:
        return f"exited with status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    guess = " (out of memory?)" if name == "SIGKILL" else ""
    return f"was killed by {name}{guess}"
