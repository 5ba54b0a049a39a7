"""docs/reliability.md, row by row, against real sockets: no cell hangs, or charges for nothing."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from adapters.errors import FailureClass, Ran
from gateway.calls.stream import SettledStream
from gateway.clock import FakeClock
from gateway.types import ApiError, Principal
from tests.e2e.servers.faulty import FAULTS, FaultyServer, program
from tests.gateway.assembled import ALICE, AssembledGateway, with_own_kinds

PAGE = (Path(__file__).parents[3] / "docs" / "reliability.md").read_text(encoding="utf-8")
POLICY = """
version: 1
server: {{tls: "off", access_log: false}}
backends:
  faulty:
    {{kind: openai, base_url: "{faulty}", engine: none, price: {price}, timeout: 2s,
      stall_timeout: 1s}}
  well: {{kind: openai, base_url: "{well}", engine: none, price: tokens}}
models:
  alone: {{task: chat, backends: [faulty]}}
  both: {{task: chat, backends: [faulty, well]}}
prices:
  tokens: {{per_million_input: 1000, per_million_output: 1000, as_of: 2026-11-01, source: test}}
  seconds: {{per_second: 0.001, as_of: 2026-11-01, source: test}}
  hours: {{per_hour: 3.6, as_of: 2026-11-01, source: test}}
  fees: {{per_call: 0.25, as_of: 2026-11-01, source: test}}
  strict: {{per_million_input: 1000, per_million_output: 1000, bills: [failed],
    as_of: 2026-11-01, source: test}}
  strict-fees: {{per_call: 0.25, bills: [failed], as_of: 2026-11-01, source: test}}
routes:
  - {{name: all, use: [faulty, well], order: listed}}
plans:
  default: {{spend: 500 USD/month}}
"""
WELL_COSTS = 15_000_000
"""Nano-dollars of the healthy server's fifteen tokens."""
STEP_S = 0.05


class Row(msgspec.Struct, frozen=True):
    """One row of the table."""

    situation: str
    program: str
    alone: str
    again: str
    another: str
    charged: str
    ledger: str
    rests: str


def rows() -> list[Row]:
    lines = [line for line in PAGE.splitlines() if line.startswith("| ") and line.count("|") == 9]
    cells = [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines]
    return [Row(*row) for row in cells if row[0] != "situation"]


class Told(msgspec.Struct, frozen=True):
    """How a call ended, as its caller and the books see it."""

    answered: bool
    status: int
    code: str
    again: str
    charged: int
    ledger: str
    backend: str


class Scene:
    """A gateway between a caller and a server in trouble, with a healthy one beside it."""

    def __init__(
        self, gateway: AssembledGateway, faulty: FaultyServer, says: bytes = b"hello there"
    ) -> None:
        """``says`` is in every good answer."""
        self.gateway = gateway
        self.faulty = faulty
        self.last = ""
        """The id of the last call that has ended."""
        self._says = says
        self._calls = 0

    async def call(self, model: str, *, stream: bool, principal: Principal = ALICE) -> Told:
        """One call to its end, while time passes."""
        self._calls += 1
        asked = {"model": model, "messages": [{"role": "user", "content": f"hi {self._calls}"}]}
        body = msgspec.json.encode({**asked, "stream": stream})
        state, task = self.gateway.start(model, stream=stream, body=body, principal=principal)
        await self.gateway.until_done([task], step=STEP_S)
        error = task.exception()
        if isinstance(error, ApiError):
            again = error.headers["x-should-retry"]
            return await self._booked(state, error.status, error.code, again)
        answer = task.result()
        if isinstance(answer, SettledStream):
            async with answer:
                pieces = [piece async for piece in answer]
                last = answer.last(show_usage=False)
            assert self._says in b"".join(pieces)
            assert last.endswith(b"[DONE]\n\n")
        else:
            assert self._says in answer.body
        return await self._booked(state, 200, "", "")

    async def _booked(self, state: Any, status: int, code: str, again: str) -> Told:
        self.last = state.call.id
        booked = await self.gateway.rows(self.last)
        cost = sum(row.cost_nano for row in booked)
        if code == "no_backend" and not booked:
            return Told(False, status, code, again, cost, "", "")
        [own] = [row for row in booked if row.id == state.call.id]
        return Told(status == 200, status, code, again, cost, own.error, own.backend)

    def rests(self) -> str:
        """Whose calls go elsewhere."""
        backend = self.gateway.inner.active.backends["faulty"]
        now = self.gateway.clock.monotonic()
        if backend.standing.blocked(now, "both", "somebody else"):
            return "everybody's"
        return "the caller's" if backend.standing.blocked(now, "both", ALICE.user) else "nobody's"


@contextlib.asynccontextmanager
async def scene(
    folder: Path, clock: FakeClock, fault: str, price: str = "tokens"
) -> AsyncIterator[Scene]:
    play = None if fault == "refused" else program(fault)
    async with FaultyServer(play) as faulty, FaultyServer() as well:
        text = POLICY.format(faulty=faulty.url, well=well.url, price=price)
        async with with_own_kinds(folder, clock, text) as gateway:
            yield Scene(gateway, faulty)


ROWS = rows()
by_program = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.program)
shapes = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


def test_every_program_has_its_row() -> None:
    files = FAULTS.rglob("[!_]*.py")
    assert {row.program for row in ROWS} == {f.stem for f in files} - {"speech"} | {"refused"}


@shapes
@by_program
async def test_a_call_to_that_backend_alone_is_told_what_the_page_says(
    row: Row, stream: bool, tmp_path: Path, clock: FakeClock
) -> None:
    async with scene(tmp_path, clock, row.program) as stage:
        told = await stage.call("alone", stream=stream)
        status, _, code = row.alone.partition(" ")
        assert (told.status, told.code, told.again) == (int(status), code.strip("`"), row.again)
        assert (str(told.charged), told.ledger) == (row.charged, row.ledger)


@shapes
@by_program
async def test_a_call_that_another_backend_could_answer_is_answered_where_the_page_says_so(
    row: Row, stream: bool, tmp_path: Path, clock: FakeClock
) -> None:
    async with scene(tmp_path, clock, row.program) as stage:
        first, second = [await stage.call("both", stream=stream) for _ in range(2)]
        answered = row.another == "answered"
        assert [first.answered, second.answered] == [answered, answered]
        assert first.charged == (WELL_COSTS if answered else 0)
        assert first.backend == ("well" if answered else "faulty")
        assert stage.rests() == row.rests


@shapes
@by_program
async def test_at_a_price_by_the_second_nothing_that_may_have_run_is_run_again(
    row: Row, stream: bool, tmp_path: Path, clock: FakeClock
) -> None:
    """What did not run goes on as everywhere, and costs nothing; what may have run is charged for
    no more than the time that it had."""
    failure = next(one for one in FailureClass if one.slug == row.ledger)
    async with scene(tmp_path, clock, row.program, "seconds") as stage:
        told = await stage.call("both", stream=stream)
        assert told.answered is (row.another == "answered" and failure.ran is Ran.NO)
        if told.answered:
            assert told.charged == WELL_COSTS
        else:
            assert told.charged <= (0 if failure.ran is Ran.NO else 3_000_000)
            assert told.again == "false"


COSTS = {
    cells[0].strip("`"): (cells[1], cells[2])
    for line in PAGE.partition("### What a failed attempt costs")[2].splitlines()
    if line.count("|") == 5 and len(cells := [each.strip() for each in line.split("|")[1:-1]]) == 4
}
PRICES = {
    "tokens": "by tokens",
    "strict": "by tokens, with `failed` in `bills`",
    "seconds": "per_second",
    "hours": "per_hour",
    "fees": "per_call",
    "strict-fees": "`per_call`, with `failed` in `bills`",
}
FEE = 250_000_000
STATED = {"failed": WELL_COSTS}
"""Nano-dollars of what failures say that they used, as good answers do."""


@pytest.mark.parametrize("price", PRICES)
@pytest.mark.parametrize("fault", ["refused", "overloaded", "failed", "silent"])
async def test_a_failed_attempt_costs_what_the_page_says_at_every_kind_of_price(
    fault: str, price: str, tmp_path: Path, clock: FakeClock
) -> None:
    """Silence lasts until the time-out of two seconds, at a tenth of a cent a second."""
    ran = fault in ("failed", "silent")
    async with scene(tmp_path, clock, fault, price) as stage:
        told = await stage.call("alone", stream=False)
    costs = COSTS[PRICES[price].strip("`")][ran]
    figures = {"nothing": 0, "the fee": FEE, "what it says that it used": STATED.get(fault, 0)}
    if costs in figures:
        assert told.charged == figures[costs]
    elif fault == "silent":
        assert 2_000_000 <= told.charged <= 2_200_000
    else:
        assert told.charged < 200_000


def test_what_did_not_run_is_named_on_the_page() -> None:
    text = PAGE.partition("*It did not run* are")[2].partition("and what a platform")[0]
    said = set(text.replace("`", " ").replace(",", " ").split())
    assert {one.slug for one in FailureClass if one.ran is Ran.NO} <= said


RETURNING = [
    row
    for row in ROWS
    if row.another == "answered" and row.program not in ("overloaded", "limited")
]
"""Those two ask themselves to be left alone for longer."""


@pytest.mark.parametrize("row", RETURNING, ids=lambda row: row.program)
async def test_a_backend_that_always_fails_costs_no_call_and_is_back_when_it_is_well(
    row: Row, tmp_path: Path, clock: FakeClock
) -> None:
    """Twelve of twelve are answered; five seconds after its recovery it answers again."""
    async with scene(tmp_path, clock, row.program) as stage:
        told = [await stage.call("both", stream=number % 2 == 1) for number in range(12)]
        assert [one.answered for one in told] == [True] * 12
        assert {one.charged for one in told} == {WELL_COSTS}
        await stage.faulty.mend()
        for _ in range(100):
            await clock.advance(STEP_S)
            await asyncio.sleep(0.001)
        after = await stage.call("both", stream=False)
        assert (after.answered, after.backend) == (True, "faulty")
