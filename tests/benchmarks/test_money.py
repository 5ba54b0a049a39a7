"""The benchmark of what limits and rows cost: what it counts, and what it makes of that."""

from __future__ import annotations

import pytest

from benchmarks.money import Figure, hold_and_settle, limits_of, main, round_trips, table
from gateway.clock import FakeClock
from gateway.storage.memory import MemorySharedStore
from tests.redis_server import RedisServer, require_redis


def test_a_bound_is_kept_from_above_or_from_below() -> None:
    assert Figure("cost", 30.0, "µs", 30).kept
    assert not Figure("cost", 30.1, "µs", 30).kept
    assert Figure("rows", 3_000.0, "a second", 3_000, at_most=False).kept
    assert not Figure("rows", 2_999.0, "a second", 3_000, at_most=False).kept


def test_the_table_says_which_bound_was_broken() -> None:
    lines = table([Figure("cost", 12.34, "µs", 30), Figure("trips", 3.0, "round trips", 2)])
    assert "12.3" in lines
    assert "≤ 30" in lines
    assert [line.split()[-1] for line in lines.splitlines()[2:]] == ["pass", "FAIL"]


async def test_every_call_is_held_in_sixteen_limits_and_ends(clock: FakeClock) -> None:
    store, template = MemorySharedStore(clock), limits_of(7)
    assert await hold_and_settle(store, [template], 100, 32) == 96
    assert repr(store) == "MemoryStore(0 holds, 16 counters)"
    statuses = await store.statuses(template.held)
    assert {one.claim.limit - one.remaining for one in statuses} == {96 * 500}


async def test_a_call_asks_redis_twice() -> None:
    require_redis()
    with RedisServer() as server:
        assert (await round_trips(server, 320)).measured == 2.0


def test_the_command_measures_the_parts_that_it_is_asked_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    main(["--calls", "640", "--only", "memory", "--only", "sqlite"])
    said = capsys.readouterr().out
    assert [name in said for name in ("in process", "SQLite", "Redis")] == [True, True, False]
