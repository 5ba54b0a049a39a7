"""A stream of calls is all of them, each once, however many pages it takes to read them."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from gateway.money.call_lists import parse_calls_query
from gateway.money.call_streams import PAGE, CallStream
from gateway.storage.history import AttemptRecord, CallHistory
from gateway.storage.queries import CallsQuery
from gateway.storage.sqlite.ledger import SqliteLedger
from gateway.types import Principal
from tests.gateway.storage.sqlite.ledger_rows import NOON, ledger_at, settled_row

ADMIN = Principal(key_id="k0", user="root", role="admin")
LATER = NOON + 10_000.0


def asked(**params: str) -> CallsQuery:
    return parse_calls_query(params, ADMIN, now_at=LATER)


async def streamed(
    ledger: SqliteLedger, query: CallsQuery, form: str, *, attempts: bool = False
) -> str:
    stream = CallStream(ledger, query, form, attempts=attempts, now_at=LATER)
    return b"".join([piece async for piece in stream.pieces()]).decode()


@pytest.mark.parametrize("count", [0, 1, PAGE - 1, PAGE, PAGE + 1, 2 * PAGE])
async def test_every_call_is_told_once_newest_first(count: int, tmp_path: Path) -> None:
    """Three at a time began at the same moment."""
    rows = [settled_row(f"r{n:04}", started_at=NOON + n // 3) for n in range(count)]
    async with ledger_at(tmp_path / "ledger.db") as ledger:
        for start in range(0, count, 500):
            await ledger.settle(rows[start : start + 500])
        lines = (await streamed(ledger, asked(), "jsonl")).splitlines()
        sheet = await streamed(ledger, asked(), "csv")
    told = [json.loads(line)["id"] for line in lines]
    assert told == [row.id for row in reversed(rows)]
    assert [row["id"] for row in csv.DictReader(io.StringIO(sheet))] == told


async def test_what_comes_after_the_question_is_none_of_the_answer(tmp_path: Path) -> None:
    async with ledger_at(tmp_path / "ledger.db") as ledger:
        await ledger.settle([settled_row("now"), settled_row("later", started_at=LATER)])
        assert json.loads(await streamed(ledger, asked(), "jsonl"))["id"] == "now"


async def test_attempts_are_told_with_their_call_or_as_rows_of_their_own(tmp_path: Path) -> None:
    """One was charged and has a row, one was free and has none."""
    history = CallHistory(
        attempts=(
            AttemptRecord("home", "failed", "no", 0.0, 1.5, entry=1),
            AttemptRecord("spare", "timeout", "late", 1.5, 2.0),
        )
    )
    rows = [
        settled_row("r1", history=history, cost_nano=5),
        settled_row("r1#1", kind="attempt", outcome="error", cost_nano=7),
    ]
    async with ledger_at(tmp_path / "ledger.db") as ledger:
        await ledger.settle(rows)
        call = json.loads(await streamed(ledger, asked(), "jsonl", attempts=True))
        lines = (await streamed(ledger, asked(kind="all"), "jsonl")).splitlines()
    assert [(each["error"], each["cost_nano"]) for each in call["attempts"]] == [
        ("failed", 7),
        ("timeout", 0),
    ]
    assert call["total_cost_nano"] == 12
    assert sorted(json.loads(line)["id"] for line in lines) == ["r1", "r1#1"]


async def test_what_a_spreadsheet_would_run_is_text(tmp_path: Path) -> None:
    row = settled_row("r1", user="=1+1", model="-x", tags={"a": "@b"}, cost_nano=-1)
    async with ledger_at(tmp_path / "ledger.db") as ledger:
        await ledger.settle([row])
        [told] = csv.DictReader(io.StringIO(await streamed(ledger, asked(), "csv")))
    assert (told["user"], told["model"]) == ("'=1+1", "'-x")
    assert (told["cost_usd"], told["cost_nano"]) == ("-0.000000001", "-1")
