"""What runs on behind a gateway that is dead is booked by its next start, all hours of it."""

from __future__ import annotations

from pathlib import Path

from gateway.clock import FakeClock
from gateway.reserve.rented import Rented, stored
from gateway.reserve.writing import LEASE_S
from gateway.storage.queries import UsageQuery
from gateway.storage.rented.memory import MemoryInstances
from tests.gateway.assembled import POLICY, assembled
from tests.waiting import until

HOURLY = 2_690_000_000


async def test_all_hours_since_it_was_started_are_booked(tmp_path: Path, clock: FakeClock) -> None:
    began = int(clock.time())
    one = Rented(
        id="i0",
        reserve="pods",
        backend="home",
        hourly_nano=HOURLY,
        began=began,
        state="up",
        stop="http://127.0.0.1:9/nobody-listens",
        timeout_s=1.0,
    )
    rented = MemoryInstances(clock.time)
    await rented.put("dead", stored(one), LEASE_S)
    clock.move(120 * 3600 + 400)
    text = POLICY.replace("server: {", f"server: {{data: {tmp_path}, ")
    async with assembled(tmp_path, clock, text, rented=rented) as gateway:
        query = UsageQuery(group_by=(), where={"kind": "idle"})

        async def is_booked() -> bool:
            rows = (await gateway.inner.ledger.usage(query)).rows
            return sum(row.cost_nano for row in rows) == 120 * HOURLY

        await until(is_booked, "each of 120 hours is booked", within_s=20.0)
