"""What the RunPod kind takes for granted of the platform, as far as it can be checked for nothing.

Each question is a read: none submits a job, and none wakes a worker.
"""

from __future__ import annotations

from adapters.assumptions import ACCEPTED, tried
from adapters.errors import BackendError, FailureClass
from adapters.runpod.management_api import ManagementApi
from adapters.runpod.queue import QueueCalls
from adapters.types import Assumption, Handle

_NOBODYS = Handle(job="spillgate-no-such-job", call="probe", task="infer", submitted=0.0)
_WORKERS = ("idle", "running", "initializing")
_BOUNDS = "the management plane states workers.min and workers.max"


async def assumptions_of(
    queue: QueueCalls | None, management: ManagementApi, deadline: float
) -> list[Assumption]:
    """The key first; then, of an endpoint with a queue, what its job plane says."""
    found = []
    if queue is not None:
        jobs = _OfTheQueue(queue, deadline)
        found.append(await tried(ACCEPTED + " by the job plane", jobs.key))
        found.append(await tried("/health counts workers and jobs as documented", jobs.counts))
        found.append(await tried("a job that is not known is answered with 404", jobs.unknown))
    found.append(await tried(_BOUNDS, lambda: _bounds(management, deadline)))
    return found


class _OfTheQueue:
    def __init__(self, queue: QueueCalls, deadline: float) -> None:
        self._queue = queue
        self._deadline = deadline

    async def key(self) -> tuple[bool, str]:
        await self._queue.health(self._deadline)
        return True, "/health answers"

    async def counts(self) -> tuple[bool, str]:
        health = await self._queue.health(self._deadline)
        named = [name for name in _WORKERS if name in health.workers]
        missing = [f"workers.{name}" for name in _WORKERS if name not in named]
        missing += [] if "inQueue" in health.jobs else ["jobs.inQueue"]
        return not missing, f"without {', '.join(missing)}" if missing else "each is there"

    async def unknown(self) -> tuple[bool, str]:
        """An unknown job that was answered otherwise would be waited for until the deadline."""
        try:
            state = await self._queue.poll(_NOBODYS)
        except BackendError as error:
            if error.failure is FailureClass.AMBIGUOUS:
                return True, "404"
            raise
        return False, f"it is said to be {state.status}"


async def _bounds(management: ManagementApi, deadline: float) -> tuple[bool, str]:
    bounds = await management.bounds(deadline)
    stated = bounds.min is not None and bounds.max is not None
    return stated, f"{bounds.min} to {bounds.max}" if stated else "they are not in its answer"
