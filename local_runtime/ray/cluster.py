"""A Ray cluster as the process that owns the actors sees it: places workers, and hears of them.

Ray places an actor and says when it is gone. Whether and when another one follows is decided by
``supervisor``, as for workers of one machine: the actors have ``max_restarts=0``.
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
from local_runtime.ray.host import THREADS, Ended, HostedWorker, WorkerHost
from local_runtime.supervisor.worker_process import Hear, Launch

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
    def needs(self) -> str:
        """In words: 1 GPU and 0.5 CPUs."""
        amounts = [(self.gpus, "GPU"), (self.cpus, "CPU")]
        said = [f"{amount:g} {what}{'s' * (amount != 1)}" for amount, what in amounts if amount]
        return " and ".join(said) or "nothing"


class Cluster:
    """Made before a connection, so that making one cannot fail."""

    def __init__(self, place: ClusterNeeds) -> None:
        self.place = place
        self._token = new_token()
        self._lives = 0

    def connect(self) -> None:
        """Blocks for seconds. Raises ConnectionError or another of Ray's errors."""
        folder = self.place.working_dir
        brought = {"working_dir": folder, "py_modules": [str(Path(__file__).parent)]}
        ray.init(
            address=self.place.address,
            namespace=self.place.namespace,
            runtime_env=None if folder is None else brought,
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
            "num_cpus": self.place.cpus,
            "num_gpus": self.place.gpus,
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


class _Host(WorkerHost):
    """Knows by Ray where it is."""

    def __init__(self, token: str) -> None:
        super().__init__(ray.util.get_node_ip_address(), token)


class RayWorkerProcess:
    """A worker in an actor, to whoever tends it: a ``tender.Process``."""

    def __init__(self, actor: Any, hosted: HostedWorker, address: str) -> None:
        self.hear: Hear = _unheard
        self.address = address
        self.last_line = ""
        self.pid = hosted.pid
        self._actor = actor
        self._status: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._listening = asyncio.create_task(self._listen())
        self._killing: asyncio.Task[None] | None = None

    def give_seat(self, launch: Launch) -> None:
        raise NotImplementedError("there are no spares in a cluster")

    async def ended(self) -> int:
        status = await asyncio.shield(self._status)
        _end(self._actor)
        return status

    def ask_to_end(self) -> None:
        self._actor.ask_to_end.remote()

    def kill(self) -> None:
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
                self._note(await self._actor.hear.remote())
            except ActorUnavailableError:
                await asyncio.sleep(AGAIN_S)
            except RayError as error:
                if not self._status.done():
                    self.hear(Broken("process", f"its Ray actor is gone: {_why(error)}"))
                self._close(KILLED)

    def _note(self, said: Sequence[LifeSign | Ended]) -> None:
        for one in said:
            if isinstance(one, Ended):
                self.last_line = one.last_line
                self._close(one.status)
            else:
                self.hear(one)

    def _close(self, status: int) -> None:
        if not self._status.done():
            self._status.set_result(status)


def _unheard(sign: LifeSign) -> None:
    """Nobody listens yet."""


def _end(actor: Any) -> None:
    ray.kill(actor, no_restart=True)


def _why(error: RayError) -> str:
    """In one line: of what the actor raised the error itself, of the rest what Ray says first."""
    found: Any = error.cause if isinstance(error, RayTaskError) else error
    lines = [line.strip() for line in str(found).splitlines() if line.strip()]
    return lines[0] if lines else type(found).__name__
