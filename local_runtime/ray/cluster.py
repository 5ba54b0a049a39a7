"""A Ray cluster as the process that owns the actors sees it: places workers, and listens to them.

Ray places an actor and says when it is gone. Whether and when another one follows is decided by
``supervisor.lifecycle``, as for workers of one machine: the actors have ``max_restarts=0``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import ray
from ray.exceptions import ActorUnavailableError, RayError, RayTaskError

from local_runtime.protocol.events import Broken, LifeSign
from local_runtime.protocol.sockets import address_of, new_token
from local_runtime.ray.host import THREADS, Ended, HostedWorker, WorkerHost, WorkerReport
from local_runtime.supervisor.worker_process import Launch, SignListener

KILLED = -9
"""The exit status of a worker whose actor can no longer say one: as of SIGKILL."""
AGAIN_S = 1.0
"""Before an actor that cannot be reached is asked again: Ray decides whether it is gone."""
KILL_WITHIN_S = 1.0
"""How long an actor may take to end its worker before it is ended itself."""


class ClusterNeeds(msgspec.Struct, frozen=True, kw_only=True):
    """Where in which cluster a worker may be, and what it needs there."""

    address: str
    """``auto``, or host:port of the cluster's head (its GCS)."""
    namespace: str
    """Of Ray's names: another one for each gateway."""
    cpus: float
    gpus: float
    working_dir: str | None
    """A folder that Ray brings to the workers' machines, together with this runtime."""

    @property
    def words(self) -> str:
        """What it needs, in words: 1 GPU and 0.5 CPUs."""
        amounts = [(self.gpus, "GPU"), (self.cpus, "CPU")]
        parts = [f"{amount:g} {what}{'s' * (amount != 1)}" for amount, what in amounts if amount]
        return " and ".join(parts) or "nothing"


class Cluster:
    """One Ray cluster. Made before a connection, so that making one cannot fail."""

    def __init__(self, needs: ClusterNeeds) -> None:
        self.needs = needs
        self._token = new_token()
        self._lives = 0

    def connect(self) -> None:
        """Blocks for seconds. Raises ConnectionError or another of Ray's errors."""
        ray.init(
            address=self.needs.address,
            namespace=self.needs.namespace,
            runtime_env=runtime_env(self.needs.working_dir),
            logging_level="error",
        )

    def close(self) -> None:
        """Ends every actor of this process."""
        ray.shutdown()

    async def start(self, launch: Launch) -> RayWorkerProcess:
        """Places an actor and starts the worker in it, however long Ray needs to find a place.
        Raises OSError."""
        self._lives += 1
        options: dict[str, Any] = {
            "num_cpus": self.needs.cpus,
            "num_gpus": self.needs.gpus,
            "name": f"{launch.name}, life {self._lives}",
            "max_restarts": 0,
            "max_concurrency": THREADS,
            "scheduling_strategy": "SPREAD",
        }
        actor = ray.remote(_Host).options(**options).remote(self._token)
        try:
            hosted: HostedWorker = await actor.begin.remote(launch)
        except RayError as error:
            _end(actor)
            raise OSError(_why(error)) from None
        except BaseException:
            _end(actor)
            raise
        return RayWorkerProcess(actor, hosted, address_of(hosted.host, hosted.port, self._token))


def runtime_env(working_dir: str | None) -> dict[str, Any] | None:
    """What Ray brings to the workers' machines: the folder, and this package beside it; None where
    they have both
    (https://docs.ray.io/en/latest/ray-core/handling-dependencies.html#runtime-environments)."""
    if working_dir is None:
        return None
    return {"working_dir": working_dir, "py_modules": [str(Path(__file__).parents[1])]}


class _Host(WorkerHost):
    """Asks Ray where it is."""

    def __init__(self, token: str) -> None:
        super().__init__(ray.util.get_node_ip_address(), token)


class RayWorkerProcess:
    """A worker in an actor, to its monitor: a ``supervisor.monitor.Process``."""

    def __init__(self, actor: Any, hosted: HostedWorker, address: str) -> None:
        self.listener: SignListener = _ignore
        self.address = address
        self.last_line = ""
        self.pid = hosted.pid
        self._actor = actor
        self._status: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._listening = asyncio.create_task(self._listen())
        self._killing: asyncio.Task[None] | None = None

    def promote(self, launch: Launch) -> None:
        """Raises NotImplementedError."""
        raise NotImplementedError("there are no spares in a cluster")

    async def ended(self) -> int:
        """The exit status; the actor is ended too."""
        status = await asyncio.shield(self._status)
        _end(self._actor)
        return status

    def ask_to_end(self) -> None:
        """Lets calls under way end, then exit."""
        self._actor.ask_to_end.remote()

    def kill(self) -> None:
        """Ends the worker and all that it has started, and its actor."""
        if self._killing is None:
            self._killing = asyncio.create_task(self._kill())

    async def _kill(self) -> None:
        """Through the actor where it answers, since that reaches what the worker has started."""
        self._actor.kill.remote()
        await asyncio.wait({self._status}, timeout=KILL_WITHIN_S)
        _end(self._actor)
        self._close(KILLED)

    async def _listen(self) -> None:
        while not self._status.done():
            try:
                self._handle(await self._actor.poll.remote())
            except ActorUnavailableError:
                await asyncio.sleep(AGAIN_S)
            except RayError as error:
                if not self._status.done():
                    self.listener(Broken("process", f"its Ray actor is gone: {_why(error)}"))
                self._close(KILLED)

    def _handle(self, reports: Sequence[WorkerReport]) -> None:
        for one in reports:
            if isinstance(one, Ended):
                self.last_line = one.last_line
                self._close(one.status)
            else:
                self.listener(one)

    def _close(self, status: int) -> None:
        if not self._status.done():
            self._status.set_result(status)


def _ignore(sign: LifeSign) -> None:
    """Nobody listens yet."""


def _end(actor: Any) -> None:
    ray.kill(actor, no_restart=True)


def _why(error: RayError) -> str:
    """In one line: of what the actor raised the error itself, of the rest what Ray says first."""
    found: Any = error.cause if isinstance(error, RayTaskError) else error
    lines = [line.strip() for line in str(found).splitlines() if line.strip()]
    return lines[0] if lines else type(found).__name__
