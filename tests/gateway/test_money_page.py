"""The day that docs/money.md tells of, played: every figure on the page is what the ledger has."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

from adapters.types import Reply, Usage
from gateway.clock import FakeClock
from gateway.storage.queries import UsageQuery
from gateway.types import Principal
from tests.gateway.assembled import AssembledGateway, assembled
from tests.live import ROOT
from tests.waiting import until

PAGE = (ROOT / "docs" / "money.md").read_text()
LAST = 24 * 3600 + 400
"""Seconds: some minutes after midnight."""


def tables() -> Iterator[list[list[str]]]:
    for block in re.findall(r"(?:^\|.*\n)+", PAGE, re.M):
        head, _, *rows = [_cells(line) for line in block.splitlines()]
        yield [head, *rows]


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def table(head: str) -> list[list[str]]:
    [found] = [rows[1:] for rows in tables() if ", ".join(rows[0]).startswith(head)]
    return found


def policy() -> str:
    """The page's own, with backends that do as they are told."""
    [text] = re.findall(r"```yaml\n(.*?)```", PAGE, re.S)
    text = re.sub(r"kind: openai, base_url: \S+,", "kind: fake, expect: 1s,", text)
    return text.replace("version: 1\n", 'version: 1\nserver: {tls: "off", access_log: false}\n')


def seconds(text: str) -> float:
    return float(text.removesuffix(" s") or 0)


def nano(text: str) -> int:
    return round(float(text) * 1e9)


def of_day(text: str) -> int:
    hours, minutes, rest = map(int, text.split(":"))
    return hours * 3600 + minutes * 60 + rest


class Day:
    """Calls that begin when the page says so."""

    def __init__(self, gateway: AssembledGateway) -> None:
        self.gateway = gateway
        self.began = gateway.clock.time()

    async def until(self, second: float) -> None:
        """In steps, between which the ledger's thread, whose time is real, keeps up."""
        while (left := self.began + second - self.gateway.clock.time()) > 0:
            await self.gateway.clock.advance(min(left, 1.0 if left < 60 else 30.0))
            await asyncio.sleep(0)

    async def call(self, row: list[str]) -> tuple[str, asyncio.Task[object]]:
        _, user, model, start, runs, *_ = row
        fake = self.gateway.fake("home" if model == "chat" else "burst")
        fake.runs_for, fake.cold_s = seconds(runs), seconds(start)
        usage = Usage(exec_s=fake.runs_for, cold_s=fake.cold_s or None, reported=True)
        fake.tell(Reply(body=b"{}", usage=usage))
        before = len(fake.calls)
        who = Principal(key_id=f"key_{user}", user=user, plan="default")
        state, task = self.gateway.start(model, principal=who)
        await until(lambda: len(fake.calls) > before, "it is asked", every_s=0.001)
        return state.call.id, task


async def spent(gateway: AssembledGateway, user: str) -> int:
    rows = (await gateway.inner.ledger.usage(UsageQuery(where={"user": user}))).rows
    return sum(row.cost_nano for row in rows)


async def test_the_page_tells_what_the_ledger_has(tmp_path: Path, clock: FakeClock) -> None:
    async with assembled(tmp_path, clock, policy()) as gateway:
        day, called = Day(gateway), []
        for row in table("from, who"):
            await day.until(of_day(row[0]))
            called.append((row, *await day.call(row)))
        await day.until(of_day("15:01:00"))
        for row, call_id, task in called:
            await task
            assert (await gateway.row(call_id)).cost_nano == nano(row[5]), row
        await day.until(LAST)
        *users, bill = table("user, USD")

        async def is_booked() -> bool:
            await clock.advance(60.0)
            return await spent(gateway, users[-1][0]) == nano(users[-1][1])

        await until(is_booked, "the last hour is booked")
        for user, told, _ in users:
            assert await spent(gateway, user) == nano(told), user
        everybody = (await gateway.inner.ledger.usage(UsageQuery(group_by=()))).rows
        assert sum(row.cost_nano for row in everybody) == nano(bill[1])
