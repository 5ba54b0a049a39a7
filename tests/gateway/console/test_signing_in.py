"""Who comes in to the console, for how long, and what a stranger learns."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from gateway.clock import FakeClock
from gateway.console.sign_in.cookies import COOKIE, PREFIX, SIGN_IN
from gateway.console.sign_in.sessions import FILE, LASTS_S
from tests.gateway.console.visitors import browser, looked_at, token_of


async def test_without_a_session_one_is_led_to_the_form_and_back(
    tmp_path: Path, clock: FakeClock
) -> None:
    """To a page of the console, never to JSON."""
    async with looked_at(tmp_path, clock) as gateway, browser(gateway) as client:
        first = await client.get(f"{PREFIX}/spend?by=model")
        assert (first.status_code, first.text) == (303, "")
        form = await client.get(first.headers["location"])
        assert (form.status_code, form.headers["content-type"]) == (200, "text/html; charset=utf-8")
        asked = form.text.partition('name="next" value="')[2].partition('"')[0]
        data = {"key": gateway.key(), "next": asked.replace("&amp;", "&")}
        answer = await client.post(SIGN_IN, data=data)
        assert answer.headers["location"] == f"{PREFIX}/spend?by=model"
        assert (await client.get(answer.headers["location"])).status_code == 200


async def test_a_session_is_a_cookie_for_the_console_alone(
    tmp_path: Path, clock: FakeClock
) -> None:
    """No script reads it, no other site sends it, and over HTTPS nothing else carries it."""
    async with looked_at(tmp_path, clock) as gateway, browser(gateway) as client:
        data = {"key": gateway.key()}
        for origin, is_secure in (("https://gpu.example", True), ("http://127.0.0.1:8443", False)):
            answer = await client.post(
                SIGN_IN,
                data=data,
                headers={"Origin": origin, "Host": origin[origin.index("//") + 2 :]},
            )
            parts = answer.headers["set-cookie"].split("; ")
            assert {"HttpOnly", "SameSite=Lax", f"Path={PREFIX}"} < set(parts)
            assert ("Secure" in parts) is is_secure


@pytest.mark.parametrize(
    ("address", "origin", "is_secure"),
    [
        ("http://127.0.0.1:8443", None, False),
        ("http://[::1]:8443", None, False),
        ("http://localhost:8443", "null", False),
        ("https://127.0.0.1:8443", None, True),
        ("http://gpu.example", None, True),
        ("http://127.0.0.1:8443", "https://gpu.example", True),
    ],
    ids=["loopback", "ipv6", "origin-null", "tls", "a-proxy-that-speaks-tls", "by-its-origin"],
)
async def test_a_browser_that_names_no_origin_is_known_by_its_connection(
    address: str, origin: str | None, is_secure: bool, tmp_path: Path, clock: FakeClock
) -> None:
    headers = {"Sec-Fetch-Site": "same-origin"} | ({"Origin": origin} if origin else {})
    async with looked_at(tmp_path, clock) as gateway, browser(gateway) as client:
        answer = await client.post(address + SIGN_IN, data={"key": gateway.key()}, headers=headers)
        assert answer.status_code == 303
        assert ("Secure" in answer.headers["set-cookie"].split("; ")) is is_secure


async def test_a_key_that_crossed_the_network_in_the_clear_is_no_way_in(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with looked_at(tmp_path, clock) as gateway, browser(gateway) as client:
        headers = {"Origin": "http://gpu.example", "Host": "gpu.example"}
        answer = await client.post(SIGN_IN, data={"key": gateway.key()}, headers=headers)
        assert (answer.status_code, COOKIE in answer.headers.get("set-cookie", "")) == (400, False)
        assert "https" in answer.text


async def test_what_is_kept_of_a_session_lets_nobody_in(tmp_path: Path, clock: FakeClock) -> None:
    """Neither the key nor the cookie is in the file."""
    async with looked_at(tmp_path, clock) as gateway:
        key = gateway.key()
        async with browser(gateway, key) as client:
            kept = b"".join(path.read_bytes() for path in tmp_path.glob(f"{FILE}*"))
            assert sqlite3.connect(tmp_path / FILE).execute("SELECT * FROM sessions").fetchall()
            assert key.encode() not in kept
            assert client.cookies[COOKIE].encode() not in kept
            assert (tmp_path / FILE).stat().st_mode & 0o077 == 0


async def test_a_key_that_is_none_is_told_so_and_counted(tmp_path: Path, clock: FakeClock) -> None:
    """As on every other route; a good key is let in all the same."""
    more = "\n"
    async with looked_at(tmp_path, clock, more) as gateway, browser(gateway) as client:
        seen = []
        for _ in range(200):
            answer = await client.post(SIGN_IN, data={"key": "sg-" + "x" * 40})
            seen.append(answer.status_code)
            if answer.status_code == 429:
                break
        assert (seen[0], seen[-1]) == (401, 429)
        assert "not known" not in answer.text
        assert int(answer.headers["retry-after"]) > 0
        assert (await client.post(SIGN_IN, data={"key": gateway.key()})).status_code == 303


async def test_signing_out_ends_the_session_and_not_the_cookie_alone(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with looked_at(tmp_path, clock) as gateway, browser(gateway, gateway.key()) as client:
        cookie, token = client.cookies[COOKIE], await token_of(client)
        answer = await client.post(f"{PREFIX}/sign-out", data={"token": token})
        assert answer.headers["location"] == SIGN_IN
        client.cookies.set(COOKIE, cookie, path=PREFIX)
        assert (await client.get(PREFIX)).status_code == 303


async def test_a_session_ends_with_its_time_and_with_its_key(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with looked_at(tmp_path, clock) as gateway:
        key = gateway.key()
        async with browser(gateway, key) as client:
            assert (await client.get(PREFIX)).status_code == 200
            clock.move(LASTS_S + 1)
            assert (await client.get(PREFIX)).status_code == 303
        async with browser(gateway, key) as client:
            principal = gateway.inner.keys.find(key)
            assert principal is not None
            gateway.inner.keys.revoke(principal.key_id)
            assert (await client.get(PREFIX)).status_code == 303


async def test_a_form_from_elsewhere_does_nothing(tmp_path: Path, clock: FakeClock) -> None:
    """Neither by the browser's word for it, nor without what the session's own forms carry."""
    async with looked_at(tmp_path, clock) as gateway, browser(gateway, gateway.key()) as client:
        token = await token_of(client)
        elsewhere = [{"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}]
        for headers in elsewhere:
            data = {"token": token}
            answer = await client.post(f"{PREFIX}/sign-out", data=data, headers=headers)
            assert answer.status_code == 403
        assert (await client.post(f"{PREFIX}/sign-out", data={"token": "x"})).status_code == 403
        assert (await client.get(PREFIX)).status_code == 200


@pytest.mark.parametrize(
    "to", ["https://evil.example/", "//evil.example", "/dashboardevil", "/dashboard\r\nX: y"],
    ids=["other", "other-without-scheme", "beside", "header"],
)  # fmt: skip
async def test_whoever_signs_in_is_led_to_no_other_site(
    to: str, tmp_path: Path, clock: FakeClock
) -> None:
    async with looked_at(tmp_path, clock) as gateway, browser(gateway) as client:
        answer = await client.post(SIGN_IN, data={"key": gateway.key(), "next": to})
        assert answer.headers["location"] == PREFIX


async def test_a_key_that_is_bound_to_paths_has_the_console_where_that_is_one_of_them(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with looked_at(tmp_path, clock) as gateway, browser(gateway) as client:
        key = gateway.key(paths=["/v1/chat/completions"])
        answer = await client.post(SIGN_IN, data={"key": key})
        assert (answer.status_code, "paths /v1/chat/completions" in answer.text) == (403, True)
        key = gateway.key(paths=["/v1/chat/completions", PREFIX, f"{PREFIX}/*"])
        assert (await client.post(SIGN_IN, data={"key": key})).status_code == 303
        assert (await client.get(f"{PREFIX}/spend")).status_code == 200


@pytest.mark.parametrize(
    ("path", "page"), [("/", PREFIX), ("/usage", f"{PREFIX}/spend")], ids=["root", "usage"]
)
async def test_a_browser_that_opens_a_path_for_programs_is_led_to_the_page(
    path: str, page: str, tmp_path: Path, clock: FakeClock
) -> None:
    async with looked_at(tmp_path, clock) as gateway, browser(gateway) as client:
        answer = await client.get(path)
        assert (answer.status_code, answer.headers.get("location")) == (303, page)
        program = await client.get("/usage", headers={"Accept": "*/*"})
        assert program.json()["error"]["code"] == "missing_api_key"
