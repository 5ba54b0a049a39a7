"""Bill: the same figures as ``usage --reconcile``, by whom a bill was told, and what is refused."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import Any

import httpx

from adapters.errors import BackendError, FailureClass
from adapters.types import BillLine
from gateway.bills.bill_files import bill_from_csv
from gateway.bills.periods import DAY, Period
from gateway.bills.reconciler import compare
from gateway.bills.texts import as_json
from gateway.clock import FakeClock
from gateway.console.sign_in.cookies import PREFIX
from gateway.storage.audit import AuditQuery
from gateway.storage.queries import UsageQuery
from tests.gateway.assembled import AssembledGateway
from tests.gateway.bills.test_corrections import Billed
from tests.gateway.console.visitors import administered, browser, called, done, looked_at

BILL = f"{PREFIX}/bill"


def day_of(gateway: AssembledGateway) -> tuple[str, float]:
    start = gateway.clock.time() // DAY * DAY
    return "2026-01-01", start


async def test_a_bill_that_is_put_in_stands_beside_the_ledger_to_the_nano_dollar(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with looked_at(tmp_path, clock) as gateway:
        for _ in range(3):
            await called(gateway, "alice")
        day, start = day_of(gateway)
        text = f"day,usd,seconds,fee_usd\n{day},0.25,120,0.01\n"
        async with browser(gateway, gateway.key("root", admin=True)) as client:
            answer = await done(client, "bill/put", backend="burst", text=text, name="invoice.csv")
            assert answer.status_code == 303
            page = (await client.get(answer.headers["location"])).text
            assert "invoice.csv" in page
            assert "The bill stands beside the ledger" in page
            table = await client.get(f"{BILL}.csv?backend=burst")
            lines = await client.get(f"{BILL}.csv?backend=burst&view=lines")
        policy = gateway.inner.active.policy
        spec, period = policy.backends["burst"], Period(start, start + DAY)
        bill = bill_from_csv(text, "invoice.csv")
        told = as_json(await compare(policy, spec, bill, period, gateway.inner.ledger))
    (row,) = csv.DictReader(io.StringIO(table.text))
    (expected,) = told["days"]
    assert float(row["billed_usd"]) == float(expected["bill"]["usd"]) == 0.25
    assert float(row["ledger_usd"]) == float(expected["ledger"]["usd"])
    assert float(row["difference_usd"]) == float(expected["difference_usd"])
    for cause in expected["causes"]:
        assert float(row[f"{cause['cause']}_usd"]) == float(cause["usd"])
    assert "burst,2026-01-01T00:00:00Z,2026-01-02T00:00:00Z,,0.250000000,120.0," in lines.text


async def test_a_bill_with_an_error_is_shown_again_and_nothing_is_kept(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with administered(tmp_path, clock) as (_, client):
        for text, words in (
            ("day,usd\n2026-01-01,many\n", "usd &#39;many&#39; is no number"),
            ("day,usd\n2020-01-01,1\n2026-01-01,1\n", "more than 400 days"),
            ("", "needs a column day"),
        ):
            answer = await done(client, "bill/put", backend="burst", text=text, name="a.csv")
            assert (answer.status_code, words in answer.text) == (400, True), answer.text
            assert text.splitlines()[-1:] == [] or text.splitlines()[-1] in answer.text
        assert (await done(client, "bill/put", backend="none", text="")).status_code == 400
        assert not (tmp_path / "bills.db").exists()


async def test_an_empty_page_says_which_setting_and_whom_to_ask(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with administered(tmp_path, clock) as (gateway, client):
        page = (await client.get(BILL)).text
        assert "No platform of these backends states a bill" in page
        put_billed(gateway)
        page = (await client.get(BILL)).text
        assert "reconcile: {every: 1d" in page
        assert "Ask for the last 31 days" in page


async def test_platforms_are_asked_and_what_one_refuses_is_told(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with administered(tmp_path, clock) as (gateway, client):
        platform = put_billed(gateway)
        answer = await done(client, "bill/ask")
        assert answer.headers["location"] == f"{BILL}?done=asked"
        page = (await client.get(answer.headers["location"])).text
        assert "the platform, " in page
        assert "$1.5" in page
        platform.failure = BackendError(FailureClass.CREDENTIAL, "no right to read bills")
        answer = await done(client, "bill/ask")
        assert "burst: no right to read bills" in answer.text
        assert "$1.5" in answer.text


# --- booking -------------------------------------------------------------------------------------


async def booking_form(client: httpx.AsyncClient, name: str = "burst") -> dict[str, str]:
    """What a browser would send of the form that books, with all its boxes checked."""
    page = (await client.get(f"{BILL}/{name}")).text
    form = page.partition('<section id="book">')[2].partition("</form>")[0]
    return dict(re.findall(r'name="([^"]+)" value="([^"]*)"', form))


async def put_bill(gateway: AssembledGateway, client: httpx.AsyncClient, text: str) -> None:
    answer = await done(client, "bill/put", backend="burst", text=text, name="invoice.csv")
    assert answer.status_code == 303


async def corrections(gateway: AssembledGateway) -> dict[str, int]:
    query = UsageQuery(group_by=("reason",), where={"kind": "correction"})
    rows = (await gateway.inner.ledger.usage(query)).rows
    return {row.group["reason"]: row.cost_nano for row in rows}


async def test_what_is_open_is_booked_by_the_causes_that_are_chosen_and_audited(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with looked_at(tmp_path, clock) as gateway:
        clock.move(2 * DAY)
        async with browser(gateway, gateway.key("root", admin=True)) as client:
            await put_bill(gateway, client, "day,usd,seconds,fee_usd\n2026-01-01,0.25,120,0.01\n")
            form = await booking_form(client)
            chosen = {name: value for name, value in form.items() if name != "cause-idle"}
            answer = await client.post(f"{BILL}/book", data=chosen)
            page = (await client.get(answer.headers["location"])).text
            assert "It is booked, as rows of its own" in page
            assert await corrections(gateway) == {"price": 120_000_000, "fees": 10_000_000}
            rest = await booking_form(client)
            assert [name for name in rest if name.startswith("cause-")] == ["cause-idle"]
            await client.post(f"{BILL}/book", data=rest)
            assert sum((await corrections(gateway)).values()) == 250_000_000
            assert "cause-idle" not in (await client.get(f"{BILL}/burst")).text
        acts = [one.act for one in gateway.inner.keys.audit(AuditQuery(act="bill.book"))][::-1]
    assert [(act.target, act.outcome) for act in acts] == [
        ("burst", "begun"),
        ("burst", "done"),
    ] * 2
    assert acts[0].details == {
        "days": "2025-12-04T00:00Z to 2026-01-03T00:00Z",
        "causes": "fees, price",
        "usd": "0.13",
    }


async def test_what_has_changed_since_it_was_seen_is_not_booked(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with looked_at(tmp_path, clock) as gateway:
        clock.move(2 * DAY)
        async with browser(gateway, gateway.key("root", admin=True)) as client:
            await put_bill(gateway, client, "day,usd\n2026-01-01,0.25\n")
            form = await booking_form(client)
            await put_bill(gateway, client, "day,usd\n2026-01-01,0.35\n")
            answer = await client.post(f"{BILL}/book", data=form)
            assert answer.status_code == 409
            assert "nothing is booked" in answer.text
            again = await booking_form(client)
            none = {name: value for name, value in again.items() if "cause" not in name}
            assert (await client.post(f"{BILL}/book", data=none)).status_code == 400
            assert await corrections(gateway) == {}
            assert (await client.post(f"{BILL}/book", data=again)).status_code == 303
            twice = await client.post(f"{BILL}/book", data=again)
            assert twice.status_code == 409
            assert await corrections(gateway) == {"rest": 350_000_000}


async def test_a_day_that_had_not_ended_when_its_bill_was_told_is_not_booked(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with looked_at(tmp_path, clock) as gateway:
        clock.move(DAY + 3600)
        async with browser(gateway, gateway.key("root", admin=True)) as client:
            await put_bill(gateway, client, "day,usd\n2026-01-01,0.25\n2026-01-02,0.05\n")
        clock.move(2 * DAY)
        async with browser(gateway, gateway.key("ann", admin=True)) as client:
            await client.post(f"{BILL}/book", data=await booking_form(client))
        assert await corrections(gateway) == {"rest": 250_000_000}


def put_billed(gateway: AssembledGateway) -> Billed:
    backend: Any = gateway.inner.active.backends["burst"]
    made = Billed("burst", backend.spec.settings, gateway.clock)
    start = gateway.clock.time() // DAY * DAY - DAY
    made.lines = (BillLine(start=start, end=start + DAY, cost_nano=1_500_000_000),)
    backend.adapter = made
    return made
