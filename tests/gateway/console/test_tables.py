"""Every table of every page is there as CSV, with what the page shows."""

from __future__ import annotations

import csv
import html
import io
import re
from pathlib import Path

import pytest

from gateway.clock import FakeClock
from gateway.console.desk import ROOMS
from gateway.console.drawing.figures import when
from gateway.console.sign_in.cookies import PREFIX
from gateway.console.visits.shown_tables import shown
from gateway.storage.calendar import zone_of
from tests.gateway.console.visitors import administered, called, looked_at
from tests.gateway.console.visitors import browser as browsing

PAGES = [f"{PREFIX}/{name}".rstrip("/") for name in (*ROOMS, "backends/home", "backends/burst")]


def read(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text)))


@pytest.mark.parametrize("page", [*PAGES, "CALL"])
async def test_every_table_leads_to_its_csv_with_as_many_rows(
    page: str, tmp_path: Path, clock: FakeClock
) -> None:
    """But for those in a form, whose figures another table has."""
    async with looked_at(tmp_path, clock) as gateway:
        id = await called(gateway, "alice")
        page = page.replace("CALL", f"{PREFIX}/calls/{id}")
        async with browsing(gateway, gateway.key("root", admin=True)) as client:
            await client.post(f"{PREFIX}/backends/drain", data={"backend": "home"})
            text = (await client.get(page)).text
            for section in re.split(r"<section|</section>", text):
                if "<table" not in section or '<form class="sheet"' in section:
                    continue
                links = re.findall(r'href="([^"]*(?:csv=|\.csv)[^"]*)"', section)
                links = links or re.findall(r'href="([^"]*\.csv[^"]*)"', text)
                assert links, section[:200]
                answer = await client.get(html.unescape(links[0]))
                assert answer.headers["content-type"].startswith("text/csv"), links[0]
                if "csv=" in links[0]:
                    body = section.partition("<tbody>")[2].partition("</tbody>")[0]
                    assert len(read(answer.text)) == 1 + body.count("<tr")


async def test_a_table_that_a_page_does_not_have_is_not_there(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with administered(tmp_path, clock) as (_, client):
        answer = await client.get(f"{PREFIX}/incidents?csv=secrets")
        assert (answer.status_code, answer.headers["content-type"][:9]) == (404, "text/html")


async def test_a_table_is_told_for_programs() -> None:
    """Instants in UTC, figures without separators, no buttons, and nothing that runs."""
    instant = when(1_790_000_000, zone_of("Europe/Berlin"), "second")
    page = f"""<table id="other"><tbody><tr><td>not this</td></tr></tbody></table>
    <table id="acts"><thead><tr><th>when</th><th>what</th><th class="n">USD</th>
    <th><span class="unseen">what to do</span></th></tr></thead><tbody>
    <tr><td>{instant}</td><th>=1+1 &amp; <b>more</b></th><td class="n">\u22121,234.50</td>
    <td><form><button>Stop</button></form></td></tr>
    <tr><td>{instant}</td><th>a<br>b<svg><title>x</title></svg></th><td class="n">\u2013</td>
    <td></td></tr></tbody><tfoot><tr><td>total</td></tr></tfoot></table>"""
    sheet = shown(page, "acts")
    assert sheet is not None
    told = b"".join([piece async for piece in sheet.pieces]).decode()
    assert read(told) == [
        ["when", "what", "USD"],
        ["2026-09-21T14:13:20.000Z", "'=1+1 & more", "-1234.50"],
        ["2026-09-21T14:13:20.000Z", "a: b", ""],
    ]
    assert shown(page, "none") is None
