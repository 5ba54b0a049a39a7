"""What limits count is the same from sums as from rows, in windows and steps of any length."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.storage.base import Ledger, LedgerRow
from gateway.storage.spent import Side, Spent
from gateway.types import MICRO
from tests.gateway.storage.opened import OpenLedger, ledger_of
from tests.gateway.storage.sqlite.ledger_rows import NOON, settled_rows
from tests.gateway.storage.test_rollups import rolled_up

SHARED = HealthCheck.function_scoped_fixture
"""Each example opens a ledger of its own."""
MINUTE = 60 * MICRO
STEPS = (0, MINUTE, 24 * MINUTE, 60 * MINUTE, 168 * MINUTE, 720 * MINUTE, 744 * MINUTE)
"""Those of 1h, 24h, 60h, 7d, 30d and 31d, sixty of which are a window."""

instants = st.integers(-(10**6), 4 * 10**6).map(lambda tenths: NOON + tenths / 10)
rows_at_any_time = st.builds(
    msgspec.structs.replace,
    settled_rows,
    kind=st.sampled_from(["call", "attempt", "ping", "idle", "correction"]),
    started_at=instants,
    ended_at=instants.map(lambda at: at + 500_000.0),
    backend=st.sampled_from(["home", "burst"]),
)


def expected(rows: Iterable[LedgerRow], since: float, side: Side, step_us: int) -> list[Spent]:
    alike: dict[str, Spent] = {}
    sums: defaultdict[str, list[int]] = defaultdict(lambda: [0] * 5)
    for row in rows:
        at_us = round(row.started_at * MICRO)
        if row.kind in ("idle", "correction") or at_us < round(since * MICRO):
            continue
        step = at_us // step_us if step_us else 0
        one = (
            Spent(key_id=row.key_id, user=row.user, plan=row.plan, tags=row.tags, step=step)
            if side == "callers"
            else Spent(model=row.model, backend=row.backend, step=step)
        )
        name = msgspec.json.encode(one, order="deterministic").decode()
        alike[name] = one
        counted = (int(row.kind == "call"), row.gpu_us, row.cost_nano)
        for index, value in enumerate((*counted, row.input_tokens, row.output_tokens)):
            sums[name][index] += value
    return [
        msgspec.structs.replace(
            alike[name],
            calls=calls,
            gpu_us=gpu_us,
            nano_usd=nano,
            input_tokens=read,
            output_tokens=written,
        )
        for name, (calls, gpu_us, nano, read, written) in sums.items()
    ]


def in_order(found: Iterable[Spent]) -> list[bytes]:
    return sorted(msgspec.json.encode(one, order="deterministic") for one in found)


@settings(max_examples=20, deadline=None, suppress_health_check=[SHARED])
@given(
    early=st.lists(rows_at_any_time, max_size=12),
    late=st.lists(rows_at_any_time, max_size=4),
    asked=st.lists(
        st.tuples(instants, st.sampled_from(["callers", "places"]), st.sampled_from(STEPS)),
        min_size=1,
        max_size=4,
    ),
)
def test_what_was_spent_is_that_of_the_rows_whatever_is_rolled_up(
    open_ledger: OpenLedger,
    early: list[LedgerRow],
    late: list[LedgerRow],
    asked: list[tuple[float, Side, int]],
) -> None:
    rows = [
        msgspec.structs.replace(row, id=f"r{index}") for index, row in enumerate([*early, *late])
    ]

    async def check(ledger: Ledger, there: list[LedgerRow]) -> None:
        for since, side, step_us in asked:
            found = await ledger.spent_since(since, side=side, step_us=step_us)
            assert in_order(found) == in_order(expected(there, since, side, step_us))

    async def run() -> None:
        async with ledger_of(open_ledger, rows[: len(early)]) as ledger:
            await check(ledger, rows[: len(early)])
            await rolled_up(ledger)
            await ledger.settle(rows[len(early) :])
            await check(ledger, rows)
            await rolled_up(ledger)
            await check(ledger, rows)

    asyncio.run(run())
