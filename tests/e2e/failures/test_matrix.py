"""Every fault in every place: who else could answer, how it was asked, how long the fault lasts.

One gateway a fault, and in it a backend a cell, all in front of the one server in trouble. Whatever
happens there: every call ends, an answer is whole, nobody is charged for what nobody ran, another
caller's calls go on, and nothing is held when all has ended. ``make faults`` plays every cell; else
whole and streamed calls take turns, and most faults come and go.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal

import msgspec
import pytest

from adapters.errors import FailureClass, Ran
from gateway.clock import FakeClock
from gateway.types import Principal
from tests.e2e.failures.test_faults import ROWS, STEP_S, WELL_COSTS, Row, Scene, Told
from tests.e2e.servers.faulty import FaultyServer, program
from tests.gateway.assembled import ALICE, with_own_kinds

Beside = Literal["nobody", "healthy", "dear", "by-second"]
Shape = Literal["whole", "stream", "mixed"]
Lasts = Literal["once", "ever", "flapping"]

LONG = os.environ.get("SPILLGATE_SOAK") == "long"
SHAPES: tuple[Shape, ...] = ("whole", "stream") if LONG else ("mixed",)
CALLS: dict[Lasts, int] = {"once": 3, "ever": 12, "flapping": 6}
BACK_WITHIN_S = 5.0
NANO_A_SECOND = 1_000_000
ROUNDED = 1
"""Nano-dollars."""
BOB = Principal(key_id="key_bob", user="bob", plan="default")
PATIENT = ("overloaded", "limited")
"""Faults that ask to be left alone for longer than a recovery may take."""

POLICY = """
version: 1
server: {{tls: "off", access_log: false}}
backends:
  well: {{kind: openai, base_url: "{well}", engine: none, price: tokens}}
  dear: {{kind: openai, base_url: "{well}", engine: none, price: dear}}
{backends}
models:
  calm: {{task: chat, backends: [well]}}
{models}
prices:
  tokens: {{per_million_input: 1000, per_million_output: 1000, as_of: 2026-11-01, source: test}}
  dear: {{per_million_input: 4000, per_million_output: 4000, as_of: 2026-11-01, source: test}}
  seconds: {{per_second: 0.001, as_of: 2026-11-01, source: test}}
routes:
  - {{name: all, use: [{order}, well, dear], order: listed}}
plans:
  default: {{spend: 5000 USD/month}}
"""
BACKEND = (
    '  {name}: {{kind: openai, base_url: "{url}", engine: none, price: {price}, timeout: 2s,'
    " stall_timeout: 1s}}"
)
ELSEWHERE: dict[Beside, str] = {
    "nobody": "",
    "healthy": ", well",
    "dear": ", dear",
    "by-second": ", well",
}


class Cell(msgspec.Struct, frozen=True):
    """One place in the matrix; its model and its backend have its name."""

    beside: Beside
    shape: Shape
    lasts: Lasts

    @property
    def name(self) -> str:
        return f"{self.beside}-{self.shape}-{self.lasts}"

    @property
    def by_second(self) -> bool:
        return self.beside == "by-second"

    def streams(self, number: int) -> bool:
        return number % 2 == 1 if self.shape == "mixed" else self.shape == "stream"

    def is_ill(self, number: int) -> bool:
        return {"once": number == 0, "ever": True, "flapping": number % 2 == 0}[self.lasts]


BESIDE: tuple[Beside, ...] = ("nobody", "healthy", "dear", "by-second")
LASTS: tuple[Lasts, ...] = ("once", "ever", "flapping")
CELLS = [
    Cell(*parts)
    for parts in itertools.product(BESIDE, SHAPES, LASTS)
    if LONG or parts[2] == "flapping" or (parts[0], parts[2]) == ("dear", "ever")
]


def policy_text(faulty: str, well: str) -> str:
    backends = [
        BACKEND.format(name=cell.name, url=faulty, price="seconds" if cell.by_second else "tokens")
        for cell in CELLS
    ]
    models = [
        f"  {cell.name}: {{task: chat, backends: [{cell.name}{ELSEWHERE[cell.beside]}]}}"
        for cell in CELLS
    ]
    return POLICY.format(
        well=well,
        backends="\n".join(backends),
        models="\n".join(models),
        order=", ".join(cell.name for cell in CELLS),
    )


@contextlib.asynccontextmanager
async def matrix(folder: Path, clock: FakeClock, fault: str) -> AsyncIterator[Scene]:
    """A gateway with the backends of all cells, in front of a server that is well as yet."""
    async with FaultyServer() as faulty, FaultyServer() as well:
        text = policy_text(faulty.url, well.url)
        async with with_own_kinds(folder, clock, text) as gateway:
            yield Scene(gateway, faulty)


class Checks:
    """What holds of every call of a row, whatever becomes of it."""

    def __init__(self, row: Row) -> None:
        self.row = row
        self.failure = next(one for one in FailureClass if one.slug == row.ledger)

    def of(self, cell: Cell, told: Told, *, ill: bool, took_s: float) -> None:
        if told.answered:
            assert self._price(cell, told, took_s), (cell, told)
            return
        assert self._may_be_told(cell, told, ill=ill), (cell, told)
        ran = self.failure.ran is not Ran.NO
        bound = took_s * NANO_A_SECOND + ROUNDED if cell.by_second and ran else 0
        assert told.charged <= bound, (cell, told)

    def _price(self, cell: Cell, told: Told, took_s: float) -> bool:
        if told.backend == cell.name and cell.by_second:
            return told.charged <= took_s * NANO_A_SECOND + ROUNDED
        return told.charged == WELL_COSTS * (4 if told.backend == "dear" else 1)

    def _may_be_told(self, cell: Cell, told: Told, *, ill: bool) -> bool:
        """Nobody else could answer, or nobody else may."""
        if cell.beside == "nobody":
            rests = told.code == "no_backend" and told.again == "true"
            return rests or (ill and told.code == self.row.alone.split("`")[1])
        if not ill or told.code == "no_backend":
            return False
        unrepeatable = cell.by_second and self.failure.ran is not Ran.NO
        return self.row.another == "told" or (unrepeatable and told.again == "false")


async def play(stage: Scene, row: Row, cell: Cell) -> None:
    """The calls of one cell; between them those of somebody else."""
    checks = Checks(row)
    clock = stage.gateway.clock
    for number in range(CALLS[cell.lasts]):
        ill = cell.is_ill(number)
        await (fall_ill(stage, row) if ill else stage.faulty.mend())
        began = clock.monotonic()
        told = await stage.call(cell.name, stream=cell.streams(number))
        checks.of(cell, told, ill=ill, took_s=clock.monotonic() - began)
    await stage.faulty.mend()
    calm = await stage.call("calm", stream=cell.streams(0), principal=BOB)
    assert (calm.answered, calm.backend) == (True, "well")
    if cell.beside != "nobody" or row.rests != "everybody's":
        assert (await stage.call(cell.name, stream=False, principal=BOB)).answered


async def fall_ill(stage: Scene, row: Row) -> None:
    await stage.faulty.fall_ill(None if row.program == "refused" else program(row.program))


async def pass_by(clock: FakeClock, seconds: float) -> None:
    for _ in range(round(seconds / STEP_S)):
        await clock.advance(STEP_S)
        await asyncio.sleep(0.001)


async def assert_all_is_back(stage: Scene, row: Row) -> None:
    """Five seconds after its recovery the server answers the calls of every cell again."""
    await pass_by(stage.gateway.clock, BACK_WITHIN_S)
    for cell in CELLS:
        told = await stage.call(cell.name, stream=cell.streams(1), principal=ALICE)
        assert (told.answered, told.backend) == (True, cell.name)


async def assert_nothing_is_left(stage: Scene) -> None:
    inner = stage.gateway.inner
    assert await inner.ledger.open_rows() == []
    assert "(0 holds" in repr(inner.shared)
    for backend in inner.active.backends.values():
        assert backend.in_flight == 0
        assert ": 0 active" in repr(backend.adapter)


@pytest.mark.soak
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.program)
async def test_no_fault_hangs_cuts_overcharges_or_hurts_a_neighbour(
    row: Row, tmp_path: Path, clock: FakeClock
) -> None:
    async with matrix(tmp_path, clock, row.program) as stage:
        for cell in CELLS:
            await play(stage, row, cell)
        if row.program not in PATIENT:
            await assert_all_is_back(stage, row)
        await assert_nothing_is_left(stage)
