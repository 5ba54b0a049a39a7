"""Gateways with schedules, which may share their stores one after another and at once."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from gateway.app import running
from gateway.clock import FakeClock
from gateway.files.contents import Contents
from gateway.storage.base import SharedStore
from gateway.storage.schedules.base import ScheduledRun
from gateway.storage.schedules.sql_schedules import SqlSchedules
from gateway.storage.sqlite.outbox import SqliteStatements
from gateway.stored_work.serving import serve_stored
from gateway.types import MICRO, Principal
from tests.gateway.assembled import read
from tests.gateway.batches.gateways import BatchesGateway, stored_in
from tests.gateway.jobs.gateways import POLICY, built
from tests.gateway.jobs.platforms import FakePlatform
from tests.waiting import until

NIGHT = Principal(key_id="key_night", user="night", plan="default")
JOB = "job: {model: any, input: {x: 1}}"
MINUTE = 60.0


def policy_with(*schedules: str, more: str = "") -> str:
    """Each is ``name: {...}``."""
    lines = "".join(f"  {one}\n" for one in schedules)
    return f"{POLICY}{more}schedules:\n{lines}" if schedules else POLICY + more


def often(more: str = "", work: str = JOB, cron: str = "* * * * *") -> str:
    """A schedule of every minute."""
    return f'often: {{cron: "{cron}", key: key_night, grace: 20s, {work}{more}}}'


class SchedulesGateway(BatchesGateway):
    """A running gateway with schedules, for which the key of ``NIGHT`` pays."""

    async def runs(self, name: str = "often") -> list[ScheduledRun]:
        assert self.inner.schedules is not None
        return list(reversed(await self.inner.schedules.store.runs(name, 1_000)))

    async def until_runs(
        self, count: int, name: str = "often", step: float = 1.0
    ) -> list[ScheduledRun]:
        """Time goes by until so many instants are decided."""
        found: list[ScheduledRun] = []

        async def decided() -> bool:
            nonlocal found
            await self.clock.advance(step)
            found = await self.runs(name)
            return len(found) >= count

        await until(decided, f"{count} instants of {name} are decided", every_s=0.001)
        return found

    async def waits_for(self) -> str:
        """Time goes by until the schedule waits for something: what that is."""
        assert self.inner.schedules is not None
        store, found = self.inner.schedules.store, ""

        async def waiting() -> bool:
            nonlocal found
            await self.clock.advance(0.5)
            [stored] = await store.all()
            found = stored.why
            return bool(found)

        await until(waiting, "the schedule waits for something", every_s=0.001)
        return found

    async def at(self, instant: float) -> None:
        """Time goes by until so many seconds after the test's beginning; stores keep up."""
        await until(self._known, "the schedules are known", every_s=0.001)
        await self.clock.advance(instant - (self.clock.monotonic() - 1000.0))

    async def _known(self) -> bool:
        assert self.inner.schedules is not None
        stored = {one.name for one in await self.inner.schedules.store.all()}
        await self.clock.advance(0.01)
        return stored >= set(self.inner.active.policy.schedules)

    async def apply_text(self, text: str) -> None:
        await self.inner.apply(read(text))


def night_key(gateway: Any, principal: Principal = NIGHT) -> None:
    """Made once, where gateways share their keys."""
    with contextlib.suppress(ValueError):
        gateway.keys.create(principal, f"sk-{principal.key_id}")


@contextlib.asynccontextmanager
async def with_schedules(
    folder: Path,
    clock: FakeClock,
    text: str,
    platform: FakePlatform | None = None,
    shared: SharedStore | None = None,
    contents: Contents | None = None,
) -> AsyncIterator[SchedulesGateway]:
    """``contents``: where files' bytes are; left out: in a folder."""
    platform = platform or FakePlatform(clock)
    inner = built(folder, clock, platform, text, shared)
    night_key(inner)
    statements = SqliteStatements(folder / "ledger.db", now_us=lambda: round(clock.time() * MICRO))
    stored = stored_in(folder, clock)._replace(schedules=SqlSchedules(statements))
    if contents is not None:
        stored = stored._replace(files=stored.files._replace(contents=contents))
    serve_stored(inner, stored)
    async with running(inner):
        yield SchedulesGateway(inner, clock, platform)
