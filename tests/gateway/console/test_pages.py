"""What every page promises, and that nobody sees what is another's."""

from __future__ import annotations

import csv
import io
import itertools
import re
from pathlib import Path

import pytest

from gateway.clock import FakeClock
from gateway.console.desk import ROOMS
from gateway.console.sign_in.cookies import PREFIX
from tests.gateway.console.visitors import CHAT, browser, called, looked_at

PAGES = [f"{PREFIX}/{name}".rstrip("/") for name in (*ROOMS, "backends/home", "backends/burst")]
SHEETS = [f"{PREFIX}/{name or 'now'}.csv" for name, room in ROOMS.items() if room.sheet]
TELLING = [PREFIX, f"{PREFIX}/spend", f"{PREFIX}/calls", f"{PREFIX}/keys", f"{PREFIX}/calls.csv"]
"""Those on which an admin reads of bob."""
PARAMETERS = [
    "", "range=7d", "by=user", "by=key", "by=user&then=key", "by=tag:team", "kind=all", "user=bob",
    "tag:team=nlp", "key=key_bob", "plan=default", "model=chat", "id=BOBS", "after=x",
    "scope=gateway", "user=alice&user=bob",
    "metric=calls&by=user&cumulative=1", "from=2000-01-01&by=user", "q=bob",
]  # fmt: skip


@pytest.mark.parametrize("page", [*PAGES, *SHEETS])
async def test_no_page_shows_a_user_what_is_anothers(
    page: str, tmp_path: Path, clock: FakeClock
) -> None:
    """Whatever the address asks for: not a name, not an id, not a sum."""
    async with looked_at(tmp_path, clock) as gateway:
        theirs = await called(gateway, "bob")
        for _ in range(3):
            await called(gateway, "bob")
        await called(gateway, "alice")
        async with browser(gateway, gateway.key("root", admin=True)) as client:
            seen_by_admin = (await client.get(page)).text
        assert page not in TELLING or "bob" in seen_by_admin
        async with browser(gateway, gateway.key("alice")) as client:
            for query in PARAMETERS:
                asked = query.replace("BOBS", theirs)
                answer = await client.get(f"{page}?{asked}")
                shown = re.sub(r'(href|action|value|hx-get)="[^"]*"', "", answer.text)
                shown = shown.replace("q=bob", "")
                assert "bob" not in re.sub(r"<p>.*?</p>|class=\"chip.*?</a>", "", shown), asked
                assert theirs not in shown, asked
                assert answer.status_code in (200, 303, 400, 403, 404), asked
            own = await client.get(f"{PREFIX}/calls/{theirs}")
            assert (own.status_code, "no call" in own.text) == (404, True)


@pytest.mark.parametrize("page", PAGES)
async def test_a_page_needs_no_script_in_it_and_says_what_may_run(
    page: str, tmp_path: Path, clock: FakeClock
) -> None:
    async with looked_at(tmp_path, clock) as gateway:
        await called(gateway, "alice")
        async with browser(gateway, gateway.key("root", admin=True)) as client:
            answer = await client.get(page)
            policy = answer.headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert answer.headers["cache-control"] == "no-store"
            assert not re.search(r"<script(?![^>]*src=)|<style|\sstyle=|\son\w+=", answer.text)
            assert answer.status_code == 200


@pytest.mark.parametrize("page", PAGES)
async def test_an_empty_page_says_what_to_do_next(
    page: str, tmp_path: Path, clock: FakeClock
) -> None:
    async with looked_at(tmp_path, clock) as gateway:
        for key in (gateway.key("root", admin=True), gateway.key("alice")):
            async with browser(gateway, key) as client:
                answer = await client.get(page)
                assert answer.status_code in (200, 403)
                assert "None" not in answer.text


@pytest.mark.parametrize("sheet", SHEETS)
async def test_a_table_as_csv_is_safe_for_spreadsheets(
    sheet: str, tmp_path: Path, clock: FakeClock
) -> None:
    async with looked_at(tmp_path, clock) as gateway:
        await called(gateway, "alice")
        async with browser(gateway, gateway.key("root", admin=True)) as client:
            answer = await client.get(sheet)
            lines = list(csv.reader(io.StringIO(answer.text)))
            assert answer.headers["content-disposition"].startswith("attachment")
            assert len({len(line) for line in lines}) == 1
            cells = itertools.chain.from_iterable(lines)
            assert not [cell for cell in cells if cell[:1] in ("=", "@", "\t")]


async def test_what_is_not_there_and_what_is_refused_are_pages_too(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with looked_at(tmp_path, clock) as gateway, browser(gateway, gateway.key()) as client:
        for path, status in (
            ("nowhere", 404),
            ("calls/req_none", 404),
            ("spend?user=bob", 403),
            ("spend?range=ever", 400),
            ("spend?by=colour", 400),
            ("calls?kind=all&range=7d", 200),
            ("spend?kind=all", 200),
            ("calls?kind=colour", 400),
            ("spend?to=9999-12-01&cumulative=1", 400),
            ("spend?from=9999-12-31", 400),
            ("spend?from=1970-01-01&to=2199-01-01&cumulative=1", 200),
            ("spend?from=1970-01-02&to=2026-01-01&cumulative=1", 200),
            ("spend?to=1970-01-02&cumulative=1", 200),
            ("now?from=2020-01-02&to=2020-01-01", 404),
        ):
            answer = await client.get(f"{PREFIX}/{path}")
            assert (path, answer.status_code) == (path, status)
            assert answer.headers["content-type"].startswith("text/html")


async def test_a_call_s_record_says_where_it_went_and_what_it_cost(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with looked_at(tmp_path, clock) as gateway:
        id = await called(gateway, "alice")
        async with browser(gateway, gateway.key("alice")) as client:
            found = await client.get(f"{PREFIX}/calls?id={id}")
            page = await client.get(found.headers["location"])
            for words in (id, "home", "RES_FREE", "asked first: answered", "promise: 2.0 s, kept"):
                assert words in page.text


async def test_a_delegate_sees_the_calls_of_its_team_and_no_others(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with looked_at(tmp_path, clock) as gateway:
        for user, team in (("bob", "nlp"), ("carol", "images")):
            async with gateway.client(gateway.key(user, tags={"team": team})) as client:
                await client.post("/v1/chat/completions", json=CHAT)
        await clock.advance(60)
        key = gateway.key("lead", delegate=True, tags={"team": "nlp"})
        async with browser(gateway, key) as client:
            for page in ("", "/spend", "/calls", "/keys"):
                text = (await client.get(f"{PREFIX}{page}")).text
                assert ("bob" in text, "carol" in text) == (True, False), page


async def test_a_key_that_is_bound_to_a_model_is_told_of_no_other(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with looked_at(tmp_path, clock) as gateway:
        key = gateway.key("alice", models=["far"])
        async with browser(gateway, key) as client:
            for page in PAGES:
                text = (await client.get(page)).text
                assert not re.search(r"<option[^>]*>(chat|home)<", text), page
