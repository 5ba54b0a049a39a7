"""Workers that this process has started, below a supervisor that is started anew should it die."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence

from local_runtime.client.discovery import DiscoveryEvent, Listener, Restarted
from local_runtime.client.supervisor_process import END_S, Garbled, SupervisorProcess
from local_runtime.clock import Clock
from local_runtime.protocol.events import WorkerChanged
from local_runtime.protocol.scale_events import FromSupervisor, Keep

RESTART_S = 1.0
"""Before a supervisor that died is started again; doubled up to a minute."""
STABLE_S = 60.0
"""A supervisor that lived so long has no failures behind it any more."""
REAP_S = 2.0
"""How long one that was killed may take to be gone."""


def supervisor_arguments(app: str, options: Mapping[str, object]) -> list[str]:
    """The supervisor's command line; options that are None are left to it,
    and True is a flag."""
    given = {name: value for name, value in options.items() if value is not None}
    flags = [
        text
        for name, value in given.items()
        for text in ((f"--{name}",) if value is True else (f"--{name}", str(value)))
    ]
    return [*flags, "--", app]


def _ignore(event: DiscoveryEvent) -> None:
    """Nobody listens before ``start``."""


class ManagedWorkers:
    """A ``Discovery``. ``sockets`` is the folder in which the workers listen; a new one unless
    given. ``environment`` is what they have; None: this process's own."""

    detail = ""

    def __init__(
        self,
        arguments: Sequence[str],
        clock: Clock,
        program: str = "local_runtime.supervisor",
        sockets: str | None = None,
        environment: Mapping[str, str] | None = None,
        python: str | None = None,
    ) -> None:
        """``python`` is the interpreter that runs them, which has this runtime installed; None:
        this process's own."""
        self._clock = clock
        self._listener: Listener = _ignore
        self._process = SupervisorProcess(
            arguments, self._forward, program, sockets, environment, python
        )
        self._closing = False
        self._main: asyncio.Task[None] | None = None

    def start(self, listener: Listener) -> None:
        self._listener = listener
        self._main = asyncio.create_task(self._keep_running())

    def keep(self, indices: tuple[int, ...]) -> None:
        """Says which workers there should be, where they come and go; costs nothing while these
        are the same."""
        self._process.keep(Keep(indices))

    async def aclose(self) -> None:
        self._closing = True
        self._process.ask_to_end()
        if self._main is not None:
            await self._end(self._main)

    def _forward(self, event: FromSupervisor) -> None:
        self._listener(event)

    async def _keep_running(self) -> None:
        pause = RESTART_S
        while not self._closing:
            began = self._clock.monotonic()
            try:
                problem = f"its supervisor exited with status {await self._process.run()}"
            except OSError as error:
                problem = f"its supervisor could not be started: {error}"
            except Garbled as error:
                problem = f"something prints into its supervisor's stdout: {error}"
            if self._closing:
                return
            stable = self._clock.monotonic() - began > STABLE_S
            pause = RESTART_S if stable else min(60.0, pause * 2)
            self._listener(Restarted())
            self._listener(WorkerChanged(0, "defunct", detail=problem, retry_s=pause))
            await self._clock.sleep(pause)

    async def _end(self, main: asyncio.Task[None]) -> None:
        """Waits for the end of the supervisor, and forces it when it takes too long."""
        if self._process.running:
            await asyncio.wait({main}, timeout=END_S)
            self._process.kill()
            await asyncio.wait({main}, timeout=REAP_S)
        main.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await main
