"""Who asks for jobs, for some of them again, and cancels or begins others once more."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from gateway.api.jobs.job_requests import asked_again
from gateway.jobs.accepting import AskedJob
from gateway.preferences import NO_PREFERENCES
from gateway.service import Gateway
from gateway.storage.base import StorageUnavailable
from gateway.types import ApiError
from tests.simulation.jobs.drawn import AskedJobAt, drawn
from tests.simulation.jobs.receivers import URL, EndsReceiver

if TYPE_CHECKING:
    from tests.simulation.world import World

T = TypeVar("T")

ENDED = ("succeeded", "failed", "canceled", "expired")
_LATEST_S = 60.0
"""Until the latest deadline, by which a hold is held of a job whose acceptance nobody heard of."""
_LOOKS_S = 0.25
_ENDS_WITHIN_S = 400.0
"""After nothing is wrong any more: the latest deadline, leases, and a receiver's pauses."""


class JobDay:
    """The jobs of a seed while it is played."""

    def __init__(self, world: World, draw: random.Random, lasts_s: float) -> None:
        self.world = world
        self.asked = drawn(draw, lasts_s)
        self.receiver = EndsReceiver(random.Random(draw.random()))
        self.promised: defaultdict[str, set[str]] = defaultdict(set)
        """The name of what was asked for -> ids that its caller was told."""
        self._draw = random.Random(draw.random())

    def begin(self) -> Iterator[asyncio.Task[None]]:
        """All that is asked, each in its time."""
        for job in self.asked:
            yield asyncio.create_task(self._later(job.at_s, self._ask, job))
            for after_s in job.again_s:
                yield asyncio.create_task(self._later(job.at_s + after_s, self._ask, job))
            if job.cancel_s is not None:
                yield asyncio.create_task(self._later(job.at_s + job.cancel_s, self._cancel, job))
            if self._draw.random() < 0.3:
                yield asyncio.create_task(self._later(job.at_s + 15.0, self._retry, job))

    async def rest(self) -> None:
        """Until all have ended, and have been told, or should have."""
        until = self.world.loop.time() + _ENDS_WITHIN_S
        while self.world.loop.time() < until and (self.alive() or self._untold()):
            await asyncio.sleep(1.0)
        await asyncio.sleep(_LATEST_S)

    def figures(self) -> dict[str, int]:
        """What the seed had of them."""
        database = self.world.ledger.database
        states = database.read("SELECT state, COUNT(*) FROM jobs GROUP BY state ORDER BY state")
        return {
            "jobs asked for again": sum(len(job.again_s) for job in self.asked),
            "ends told": sum(map(len, self.receiver.told.values())),
            **{f"jobs {state}": count for state, count in states},
        }

    def alive(self) -> list[str]:
        """Jobs that have not ended."""
        found = self.world.ledger.database.read("SELECT id FROM jobs WHERE ended_at IS NULL")
        return [id for (id,) in found]

    def _untold(self) -> int:
        sql = "SELECT COUNT(*) FROM outbox WHERE delivered_at IS NULL"
        return int(self.world.ledger.database.read(sql)[0][0])

    async def _later(
        self, at_s: float, work: Callable[[AskedJobAt], Coroutine[Any, Any, None]], job: AskedJobAt
    ) -> None:
        await asyncio.sleep(at_s)
        await work(job)

    # --- what is asked ----------------------------------------------------------------------------

    async def _ask(self, job: AskedJobAt) -> None:
        asked = AskedJob(
            model=job.model,
            task="infer",
            body=b'{"asked":"%b"}' % job.name.encode(),
            principal=job.principal,
            preferences=NO_PREFERENCES,
            deadline_s=job.deadline_s,
            webhook=URL if job.is_told else "",
            idempotency_key=job.key,
        )
        await self._accept(job.name, asked)

    async def _accept(self, name: str, asked: AskedJob) -> None:
        async def work(gateway: Gateway) -> str:
            assert gateway.jobs is not None
            return await gateway.jobs.accept(asked)

        found = await self._by_a_gateway(f"{name} is asked for", work)
        if found is not None:
            self.promised[name].add(found)

    async def _cancel(self, job: AskedJobAt) -> None:
        for id in sorted(self.promised[job.name]):

            async def work(gateway: Gateway, id: str = id) -> str:
                assert gateway.jobs is not None
                return str(await gateway.jobs.worker.cancel(id))

            await self._by_a_gateway(f"{job.name} is canceled", work)

    async def _retry(self, job: AskedJobAt) -> None:
        """Of one that has not succeeded."""
        for id in sorted(self.promised[job.name]):

            async def work(gateway: Gateway, id: str = id) -> str:
                assert gateway.jobs is not None
                found = await gateway.jobs.store.get(id)
                if found is None or found.state not in ENDED[1:]:
                    return ""
                return await gateway.jobs.accept(asked_again(gateway.active, found, job.principal))

            again = await self._by_a_gateway(f"{job.name} is begun again", work)
            if again:
                self.promised[f"{job.name} again"].add(again)

    async def _by_a_gateway(
        self, what: str, work: Callable[[Gateway], Coroutine[Any, Any, str]]
    ) -> str | None:
        """What one of them says; None where it refuses, or has died."""
        serving = self.world.serving()
        if not serving:
            return None
        one = self._draw.choice(serving)
        assert one.gateway is not None
        answer: asyncio.Future[str] = self.world.loop.create_future()
        one.works(_give(work(one.gateway), answer))
        while not answer.done() and one.process.is_alive:
            await asyncio.sleep(_LOOKS_S)
        if not answer.done():
            return None
        try:
            found = answer.result()
        except (ApiError, StorageUnavailable) as refused:
            self.world.note(f"{what}: {getattr(refused, 'code', 'store')}")
            return None
        except asyncio.CancelledError:
            return None
        self.world.note(f"{what}: done")
        return found


async def _give(work: Coroutine[Any, Any, T], answer: asyncio.Future[T]) -> None:
    try:
        found = await work
    except asyncio.CancelledError:
        answer.cancel()
        raise
    except Exception as error:
        answer.set_exception(error)
    else:
        answer.set_result(found)
