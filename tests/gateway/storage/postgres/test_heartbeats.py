"""Whose an open row is, when gateways on several machines come and go."""

from __future__ import annotations

import asyncio

from gateway.storage.jobs.base import WAITS_IN_STORE
from gateway.storage.postgres.connections import Connection, connect
from gateway.storage.postgres.heartbeats import Heartbeats
from gateway.store_urls import Database
from tests.gateway.storage.postgres.conftest import Machines
from tests.gateway.storage.sqlite.ledger_rows import open_row, settled_row
from tests.waiting import until

LEASE_S = 15.0


async def beside(database: Database) -> Connection:
    """A connection of the test's own."""
    return await connect(database, "test", timeout_s=30.0, statement_timeout_s=30.0)


async def left_open(machine: Machines, database: Database, *ids: str) -> str:
    """Rows of a gateway that dies: its token. It beats no more, and says no farewell."""
    async with machine(database) as ledger:
        for id in ids:
            await ledger.open(open_row(id))
        connection = await beside(database)
        token: str = await connection.fetchval(
            "SELECT token FROM owners WHERE token <> $1", WAITS_IN_STORE
        )
        await connection.close()
    connection = await beside(database)
    await connection.execute("UPDATE owners SET beat = 7 WHERE token = $1", token)
    await connection.close()
    return token


async def test_a_gateway_that_beats_keeps_its_rows_and_one_that_does_not_loses_them(
    database: Database, machine: Machines
) -> None:
    """By the clock of the one who looks: the number has to stand still for the whole lease."""
    token = await left_open(machine, database, "r1", "r2")
    connection = await beside(database)
    looking = Heartbeats("me", lease_s=LEASE_S)
    await looking.beat(connection)
    assert await looking.take(connection, (), now=0.0) == []
    assert await looking.take(connection, (), now=LEASE_S - 1) == []
    await Heartbeats(token, lease_s=LEASE_S).beat(connection)
    assert await looking.take(connection, (), now=LEASE_S + 1) == []
    assert await looking.take(connection, (), now=2 * LEASE_S) == []
    assert len(await looking.take(connection, (), now=2 * LEASE_S + 1)) == 2
    await connection.close()


async def test_rows_of_a_dead_gateway_are_given_to_one_other_alone(
    database: Database, machine: Machines
) -> None:
    """However many look at the same moment."""
    await left_open(machine, database, *(f"r{number}" for number in range(20)))
    connections = [await beside(database) for _ in range(8)]
    lookers = [Heartbeats(f"me{number}", lease_s=LEASE_S) for number in range(8)]
    for looker, connection in zip(lookers, connections, strict=True):
        await looker.beat(connection)
        await looker.take(connection, (), now=0.0)
    # Those that look beat, too: their numbers have moved since, and the dead one's has not.
    for looker, connection in zip(lookers, connections, strict=True):
        await looker.beat(connection)
    taken = await asyncio.gather(
        *(
            looker.take(connection, (), now=LEASE_S)
            for looker, connection in zip(lookers, connections, strict=True)
        )
    )
    assert sorted(map(len, taken)) == [0] * 7 + [20]
    for connection in connections:
        await connection.close()


async def test_a_process_that_died_on_this_machine_is_known_to_be_dead_at_once(
    database: Database, machine: Machines
) -> None:
    token = await left_open(machine, database, "r1")
    connection = await beside(database)
    looking = Heartbeats("me", lease_s=LEASE_S)
    await looking.beat(connection)
    assert len(await looking.take(connection, {token}, now=0.0)) == 1
    await connection.close()


async def test_what_was_taken_is_given_again_until_it_is_settled(
    database: Database, machine: Machines
) -> None:
    """The answer to the first question may have been lost."""
    token = await left_open(machine, database, "r1")
    connection = await beside(database)
    looking = Heartbeats("me", lease_s=LEASE_S)
    await looking.beat(connection)
    first = await looking.take(connection, {token}, now=0.0)
    assert await looking.take(connection, (), now=1.0) == first
    async with machine(database) as other:
        await other.settle([settled_row("r1")])
    assert await looking.take(connection, (), now=2.0) == []
    await connection.close()


async def test_a_gateway_that_was_taken_for_dead_goes_on_and_settles_nothing_twice(
    database: Database, machine: Machines
) -> None:
    """It was cut off for longer than its lease: the first settlement of its rows counts, and rows
    that it opens from now on are its own again."""
    async with machine(database, beat_every_s=3_600.0) as cut_off:
        await cut_off.open(open_row("r1", hold_nano=9))
        connection = await beside(database)
        taker = Heartbeats("taker", lease_s=LEASE_S)
        await taker.beat(connection)
        await taker.take(connection, (), now=0.0)
        assert len(await taker.take(connection, (), now=LEASE_S)) == 1
        await connection.close()
        async with machine(database) as other:
            await other.settle([settled_row("r1", outcome="interrupted", cost_nano=9)])
        await cut_off.settle([settled_row("r1", cost_nano=2)])
        await cut_off.open(open_row("r2"))
        assert [row.id for row in await cut_off.open_rows()] == ["r2"]
        assert [row.cost_nano for row in await cut_off.rows("r1")] == [9]


async def test_a_living_gateway_settles_what_a_dead_one_left_when_its_lease_is_over(
    database: Database, machine: Machines
) -> None:
    """Over the ledger itself, with a lease of a moment."""
    await left_open(machine, database, "r1")
    async with machine(database, lease_s=0.2) as ledger:
        taken: list[str] = []

        async def all_taken() -> bool:
            taken[:] = [row.id for row in await ledger.take_abandoned()]
            return taken == ["r1"]

        await until(all_taken, "it is taken")
