"""One worker process as its supervisor has it: its pipes, its end."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

import msgspec

from local_runtime.protocol.events import LifeSign, Promote, Standby
from local_runtime.protocol.wire import decode_life_sign, frame, read_frames
from local_runtime.supervisor.logs import LineSplitter, LogWriter
from local_runtime.supervisor.placement import Placement

GRACE_S = 5.0
"""How long a handler that was asked to stop may take to come back."""
REAP_S = 1.0
"""How long the pipes of a process that is gone are still read."""
_PIPE_BYTES = 256 * 1024
_FATAL = {"SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGABRT"}
"""Upon which the worker prints its stack (see the faulthandler of the standard library)."""

SignListener = Callable[[LifeSign], None]


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """How a worker, or a spare, is started."""

    app: str
    index: int
    socket: str = ""
    """A spare gets it later."""
    placement: Placement = Placement()
    standby: Standby = "none"
    """Anything else: it is a spare, and waits for a placement when it has done this."""
    listener: int | None = None
    """A listening socket that the worker inherits, where it has no path of its own."""
    threads: int | None = None
    grace_s: float = GRACE_S
    max_frame: int
    memory: int | None = None
    """Bytes that the app's models share; None: what its device has."""
    models: str = ""
    """What they are declared to be, as JSON: see ``app.model_sizes``."""

    @property
    def name(self) -> str:
        """As in the log: ``worker 0``, ``spare 0``."""
        return f"{'worker' if self.standby == 'none' else 'spare'} {self.index}"

    def command(self, life_fd: int) -> list[str]:
        """The command line; ``life_fd`` is the descriptor it inherits."""
        options = {
            "index": self.index,
            "socket": self.socket,
            "life-fd": life_fd,
            "parent": os.getpid(),
            "born": time.monotonic(),
            "device": self.placement.device,
            "standby": self.standby,
            "grace": self.grace_s,
            "max-frame": self.max_frame,
        }
        given = {"memory": self.memory, "models": self.models}
        options |= {name: value for name, value in given.items() if value}
        flags = [text for name, value in options.items() for text in (f"--{name}", str(value))]
        return [sys.executable, "-u", "-m", "local_runtime.worker", *flags, "--", self.app]

    def environment(self) -> dict[str, str]:
        """SPILLGATE_DEVICE says what the app should use; CUDA_VISIBLE_DEVICES what it sees."""
        added = {"SPILLGATE_DEVICE": self.placement.device, "SPILLGATE_WORKER": str(self.index)}
        if self.placement.visible is not None:
            added["CUDA_VISIBLE_DEVICES"] = self.placement.visible
        if self.threads is not None:
            added |= {"OMP_NUM_THREADS": str(self.threads), "MKL_NUM_THREADS": str(self.threads)}
        return {**os.environ, **added}

    def fits(self, spare: Launch) -> bool:
        """Whether such a spare can take this worker's place: one that has loaded its model has
        done so on the devices that it saw."""
        return spare.standby == "imported" or spare.placement == self.placement


class _Streams(asyncio.subprocess.SubprocessStreamProtocol):
    """Tells the exit of the process itself."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(limit=_PIPE_BYTES, loop=loop)
        self.exited = asyncio.Event()

    def process_exited(self) -> None:
        super().process_exited()
        self.exited.set()


class Program:
    """A process whose exit is known when it happens. ``Process.wait`` of asyncio waits for the end
    of the pipes as well, which a grandchild may hold for ever."""

    def __init__(self, transport: asyncio.SubprocessTransport, streams: _Streams) -> None:
        loop = asyncio.get_running_loop()
        self.process = asyncio.subprocess.Process(transport, streams, loop)
        self._transport = transport
        self._streams = streams

    @classmethod
    async def start(cls, *command: str, **options: Any) -> Program:
        """As ``asyncio.create_subprocess_exec``. Raises OSError."""
        loop = asyncio.get_running_loop()
        return cls(*await loop.subprocess_exec(lambda: _Streams(loop), *command, **options))

    async def exited(self) -> int:
        """The exit status; negative for a signal."""
        await self._streams.exited.wait()
        status = self.process.returncode
        assert status is not None
        return status

    def close(self) -> None:
        """Closes the pipes, whoever holds their other ends."""
        self._transport.close()


class Pipe:
    """The end of a pipe that is read."""

    def __init__(self, reader: asyncio.StreamReader, transport: asyncio.ReadTransport) -> None:
        self.reader = reader
        self.close = transport.close

    @classmethod
    async def open(cls, fd: int) -> Pipe:
        """Takes over the descriptor."""
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        file = os.fdopen(fd, "rb", buffering=0)
        protocol = asyncio.StreamReaderProtocol(reader)
        return cls(reader, (await loop.connect_read_pipe(lambda: protocol, file))[0])


class WorkerProcess:
    """A process in a group of its own, so that whatever it starts ends with it. What it says goes
    to ``listener``, what it prints to ``writer`` behind ``[name]``; both may be exchanged."""

    def __init__(self, program: Program, life: Pipe, writer: LogWriter) -> None:
        self.listener: SignListener = _ignore
        self.name = ""
        self._program = program
        self._process = program.process
        self._life = life
        self._writer = writer
        self._lines = LineSplitter()
        self._pumps = [
            asyncio.create_task(self._pass_signs()),
            asyncio.create_task(self._pass_logs()),
        ]

    @classmethod
    async def start(cls, launch: Launch, writer: LogWriter) -> WorkerProcess:
        """Starts one. Raises OSError. Whoever starts one must await ``ended``."""
        read_fd, write_fd = os.pipe()
        try:
            program = await Program.start(
                *launch.command(write_fd),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                pass_fds=(write_fd,) if launch.listener is None else (write_fd, launch.listener),
                start_new_session=True,
                env=launch.environment(),
            )
        except BaseException:
            os.close(read_fd)
            raise
        finally:
            os.close(write_fd)
        process = cls(program, await Pipe.open(read_fd), writer)
        process.name = launch.name
        return process

    @property
    def pid(self) -> int:
        """Its process id, which is that of its group too."""
        return self._process.pid

    @property
    def last_line(self) -> str:
        """The last thing it printed."""
        tail = self._lines.tail
        return tail[-1].decode(errors="replace").strip() if tail else ""

    def promote(self, launch: Launch) -> None:
        """Makes a spare that waits the worker of ``launch``."""
        placement = launch.placement
        self.name = launch.name
        assert self._process.stdin is not None
        event = Promote(launch.index, launch.socket, placement.device, placement.visible)
        self._process.stdin.write(frame(event))

    async def ended(self) -> int:
        """The exit status; negative for a signal. Ends the rest of its group, and reads on to the
        end of what it said. What it has started in a session of its own may live on, and have the
        pipes open."""
        status = await self._program.exited()
        self.kill()
        _, late = await asyncio.wait(self._pumps, timeout=REAP_S)
        for task in late:
            task.cancel()
        self._life.close()
        self._program.close()
        return status

    def ask_to_end(self) -> None:
        """Lets calls under way end, then exit."""
        if self._process.stdin is not None:
            self._process.stdin.close()

    def kill(self) -> None:
        """Ends it and all that it has started, but for what has a session of its own."""
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            return

    async def _pass_signs(self) -> None:
        async for payload in read_frames(self._life.reader):
            self.listener(decode_life_sign(payload))

    async def _pass_logs(self) -> None:
        assert self._process.stdout is not None
        while data := await self._process.stdout.read(_PIPE_BYTES):
            self._write(self._lines.feed(data))
        self._write(self._lines.flush())

    def _write(self, lines: list[bytes]) -> None:
        mark = f"[{self.name}] ".encode()
        for line in lines:
            self._writer.write(mark + line)


def _ignore(sign: LifeSign) -> None:
    """Nobody listens yet."""


def exit_words(status: int, before: str, last_line: str) -> str:
    """'was killed by SIGKILL (out of memory?)', 'exited with status 3 before it was ready; its
    last line: ...': ``before`` says when."""
    behind = f"{before}; its last line: {last_line}" if last_line else before
    if status >= 0:
        return f"exited with status {status}{behind}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    if name in _FATAL:
        return f"was killed by {name}{before}; the log has its stack"
    guess = " (out of memory?)" if name == "SIGKILL" else ""
    return f"was killed by {name}{guess}{behind}"
