"""The input of a schedule's batch is copied once, however long that takes."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from gateway.clock import FakeClock
from gateway.files.folder import FileWriting, FolderContents
from gateway.schedules.scheduler import LEASE_S
from gateway.storage.memory import MemorySharedStore
from gateway.storage.schedules.base import ScheduledRun
from tests.gateway.batches.gateways import input_of
from tests.gateway.schedules.gateways import (
    MINUTE,
    SchedulesGateway,
    often,
    policy_with,
    with_schedules,
)
from tests.waiting import until

COPY_S = 3 * LEASE_S


class SlowContents(FolderContents):
    """A folder that takes minutes for each file."""

    def __init__(self, folder: Path, clock: FakeClock) -> None:
        super().__init__(folder)
        self.begun = 0
        self._clock = clock

    @contextlib.asynccontextmanager
    async def writing(self, id: str) -> AsyncIterator[FileWriting]:
        self.begun += 1
        async with super().writing(id) as out:
            yield out
            await self._clock.sleep(COPY_S)


def policy_over(path: Path) -> str:
    path.write_bytes(input_of([{"x": 1}]))
    work = f"batch: {{endpoint: /v1/infer/any, input: {path}}}"
    return policy_with(often(work=work, cron="1 0 * * *"))


async def inputs(gateway: SchedulesGateway) -> list[str]:
    async with gateway.client(gateway.key("night")) as client:
        told = (await client.get("/v1/files?purpose=batch")).json()
    return [str(one["id"]) for one in told["data"]]


async def test_who_copies_for_minutes_keeps_its_lease(tmp_path: Path, clock: FakeClock) -> None:
    text, shared = policy_over(tmp_path / "texts.jsonl"), MemorySharedStore(clock)
    contents = SlowContents(tmp_path / "files", clock)
    async with contextlib.AsyncExitStack() as stack:
        gateways = [
            await stack.enter_async_context(
                with_schedules(tmp_path, clock, text, shared=shared, contents=contents)
            )
            for _ in range(2)
        ]
        await gateways[0].at(MINUTE + COPY_S - 1)
        assert contents.begun == 1
        [run] = await gateways[0].until_runs(1, step=2.0)

        assert run.outcome == "begun"
        assert len(await inputs(gateways[0])) == 1


async def test_a_copy_for_an_instant_that_another_has_decided_takes_no_room(
    tmp_path: Path, clock: FakeClock
) -> None:
    text = policy_over(tmp_path / "texts.jsonl")
    contents = SlowContents(tmp_path / "files", clock)
    async with with_schedules(tmp_path, clock, text, contents=contents) as gateway:
        assert gateway.inner.schedules is not None
        store = gateway.inner.schedules.store
        await gateway.at(MINUTE - 1)

        async def copying() -> bool:
            await clock.advance(1.0)
            return contents.begun == 1

        await until(copying, "the input is copied", every_s=0.001)
        clock.move(LEASE_S)
        other = await store.take("often", "other", 2 * COPY_S)
        assert other is not None
        [stored] = await store.all()
        run = ScheduledRun(schedule="often", instant=stored.place + MINUTE, outcome="missed")
        await store.decide("often", other.epoch, run)

        async def dropped() -> bool:
            await clock.advance(20.0)
            return not await inputs(gateway) and not list((tmp_path / "files").rglob("file*"))

        await clock.advance(COPY_S)
        await until(dropped, "the copy is gone", every_s=0.001)
        assert [one.outcome for one in await gateway.runs()] == ["missed"]
