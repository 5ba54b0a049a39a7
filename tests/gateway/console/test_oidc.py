"""Sign-in by an OpenID provider: who comes in as whom, and every token that is not believed."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from gateway.clock import FakeClock
from gateway.console.sign_in.cookies import COOKIE, PREFIX, SIGN_IN
from gateway.storage.audit import AuditQuery
from tests.gateway.assembled import POLICY, AssembledGateway, assembled
from tests.gateway.console.visitors import browser, called, token_of

pytest.importorskip("joserfc", reason="the extra oidc is not installed")

from tests.gateway.console.provider import CLIENT, SECRET, Claims, Provider, new_key, provider

WAY = f"{SIGN_IN}/oidc"


class Company(NamedTuple):
    """A gateway, its provider, and somebody's browser."""

    gateway: AssembledGateway
    provider: Provider
    client: httpx.AsyncClient

    async def come(self, page: str = "") -> httpx.Response:
        """There, and back."""
        begun = await self.client.get(WAY + (f"?next={page}" if page else ""))
        assert begun.status_code == 303, begun.text
        return await self.client.get(self.provider.authorize(begun.headers["location"]))


@contextlib.asynccontextmanager
async def company(
    folder: Path,
    clock: FakeClock,
    more: str = "",
    admin: str = "groups",
    url: str = "https://gateway.example",
) -> AsyncIterator[Company]:
    with provider(clock.time) as made:
        oidc = (
            f'{{issuer: "{made.issuer}", client_id: {CLIENT}, client_secret: "${{OIDC_SECRET}}", '
            f"url: '{url}', admin: {{claim: {admin}, value: gpu-admins}}{more}}}"
        )
        text = POLICY.replace("{tls:", f"{{data: {folder}, console: {{oidc: {oidc}}}, tls:")
        async with (
            assembled(folder, clock, text, secrets={"OIDC_SECRET": SECRET}) as gateway,
            browser(gateway) as client,
        ):
            yield Company(gateway, made, client)


async def test_whoever_the_provider_names_sees_his_own_and_is_led_to_his_page(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with company(tmp_path, clock) as (gateway, made, client):
        await called(gateway, "alice@example.com")
        await called(gateway, "bob")
        assert "Sign in with single sign-on" in (await client.get(SIGN_IN)).text
        answer = await Company(gateway, made, client).come(f"{PREFIX}/calls?range=7d")
        assert (answer.status_code, answer.headers["location"]) == (303, f"{PREFIX}/calls?range=7d")
        assert made.posted[0]["redirect_uri"] == f"https://gateway.example{WAY}/back"
        page = (await client.get(answer.headers["location"])).text
        assert "alice@example.com" in page
        assert "1 call," in page
        assert (await client.get(f"{PREFIX}/backends")).status_code == 403
        assert (await client.get(f"{PREFIX}/spend?user=bob")).status_code == 403


@pytest.mark.parametrize(
    ("url", "secure"),
    [("https://gateway.example", True), ("HTTPS://gateway.example", True),
     ("http://127.0.0.1:8080", False), ("http://[::1]:8080", False)],
    ids=["https", "in-capitals", "loopback", "loopback-6"],
)  # fmt: skip
async def test_both_cookies_cross_no_network_in_the_clear(
    url: str, secure: bool, tmp_path: Path, clock: FakeClock
) -> None:
    async with company(tmp_path, clock, url=url) as (_, made, client):
        begun = await client.get(WAY)
        back = httpx.URL(made.authorize(begun.headers["location"])).raw_path.decode()
        way = begun.headers["set-cookie"]
        cookie = way.partition(";")[0]
        answer = await client.get(back, headers={"cookie": cookie})
        session = answer.headers.get_list("set-cookie")[0]
        assert ["; Secure" in one for one in (way, session)] == [secure, secure]
        assert session.startswith(COOKIE)


async def test_a_claim_makes_an_admin_whose_acts_are_noted(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with company(tmp_path, clock) as (gateway, made, client):
        made.claims |= {"groups": ["staff", "gpu-admins"]}
        await Company(gateway, made, client).come()
        for page in ("", "/keys", "/backends", "/jobs", "/policy", "/incidents", "/bill", "/spend"):
            assert (await client.get(PREFIX + page)).status_code == 200, page
        data = {"token": await token_of(client), "backend": "home"}
        await client.post(f"{PREFIX}/backends/drain", data=data)
        actors = {entry.act.actor for entry in gateway.inner.keys.audit(AuditQuery())}
        assert actors == {"oidc:248289761001"}
        await client.post(f"{PREFIX}/sign-out", data={"token": data["token"]})
        assert (await client.get(PREFIX)).status_code == 303


LIES: dict[str, tuple[Claims, str]] = {
    "issuer": ({"iss": "https://elsewhere.example"}, "another issuer"),
    "audience": ({"aud": "another"}, "another client (aud)"),
    "several": ({"aud": [CLIENT, "another"]}, "given to another (azp)"),
    "nonce": ({"nonce": "of yesterday"}, "another sign-in (nonce)"),
    "no-nonce": ({"nonce": None}, "another sign-in (nonce)"),
    "expired": ({"exp": 1_000}, "has expired"),
    "no-expiry": ({"exp": None}, "when it holds (exp)"),
    "later": ({"nbf": 9_999_999_999}, "holds only later"),
    "no-user": ({"email": None}, "no claim email"),
    "unverified": ({"email_verified": False}, "not verified"),
    "nobody": ({"sub": ""}, "names nobody"),
    "ours": ({"email": "system:idle"}, "no name that a user can have"),
    "many-lines": ({"email": "alice\nbob"}, "no name that a user can have"),
}


@pytest.mark.parametrize("lie", LIES)
async def test_a_token_that_says_what_it_must_not_lets_nobody_in_and_says_why(
    lie: str, tmp_path: Path, clock: FakeClock
) -> None:
    async with company(tmp_path, clock) as it:
        it.provider.changed, words = LIES[lie]
        await refused(it, words)


@pytest.mark.parametrize("algorithm", ["none", "HS256", "ES256"])
async def test_a_token_that_the_provider_s_key_has_not_signed_lets_nobody_in(
    algorithm: str, tmp_path: Path, clock: FakeClock
) -> None:
    """None at all; by what the client knows too; by a key of the same name."""
    async with company(tmp_path, clock) as it:
        it.provider.algorithm, it.provider.signs_with = algorithm, new_key("one")
        await refused(it, "signature is not by a key of")


async def refused(it: Company, words: str) -> None:
    answer = await it.come()
    assert answer.status_code == 403, answer.text
    assert words in answer.text
    assert COOKIE not in answer.headers.get("set-cookie", "")
    assert (await it.client.get(PREFIX)).status_code == 303


async def test_a_new_key_of_the_provider_is_fetched_when_it_is_met(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with company(tmp_path, clock) as it:
        assert (await it.come()).status_code == 303
        it.provider.key = it.provider.signs_with = new_key("two")
        await clock.advance(11)
        assert (await it.come()).status_code == 303


async def test_a_way_back_that_this_browser_did_not_begin_is_none(
    tmp_path: Path, clock: FakeClock
) -> None:
    """A stranger's link, a second use, another state, and one that leads away."""
    async with company(tmp_path, clock) as it:
        begun = await it.client.get(f"{WAY}?next=https://evil.example")
        back = it.provider.authorize(begun.headers["location"])
        async with browser(it.gateway) as another:
            assert (await another.get(back)).status_code == 400
        assert (await it.client.get(back.replace("state=", "state=x"))).status_code == 400
        assert (await it.client.get(f"{WAY}/back?state=&code=x")).status_code == 400
        answer = await it.client.get(back)
        assert answer.headers["location"] == PREFIX
        assert (await it.client.get(back)).status_code == 400
        begun = await it.client.get(WAY)
        state = it.provider.authorize(begun.headers["location"]).partition("state=")[2]
        answer = await it.client.get(f"{WAY}/back?error=access_denied&state={state}")
        assert (answer.status_code, "access_denied" in answer.text) == (403, True)


@pytest.mark.parametrize(
    "described",
    [{"issuer": "http://127.0.0.1:1"}, {"token_endpoint": "http://elsewhere.example/token"},
     {"token_endpoint": "http://127.0.0.1:1/token"}, {"jwks_uri": None}],
    ids=["another", "in-the-clear", "nobody-there", "no-keys"],
)  # fmt: skip
async def test_a_provider_that_fails_is_told_and_keys_go_on(
    described: dict[str, Any], tmp_path: Path, clock: FakeClock
) -> None:
    async with company(tmp_path, clock) as it:
        it.provider.described = described
        answer = await it.client.get(WAY)
        if answer.status_code == 303:
            answer = await it.client.get(it.provider.authorize(answer.headers["location"]))
        assert answer.status_code == 502
        assert "Sign in with a key" in answer.text
        assert SECRET not in answer.text
        key = it.gateway.key()
        assert (await it.client.post(SIGN_IN, data={"key": key})).status_code == 303


async def test_an_unverified_email_makes_no_admin(tmp_path: Path, clock: FakeClock) -> None:
    async with company(tmp_path, clock, ", user: sub", admin="email") as it:
        it.provider.changed = {"groups": None, "email": "gpu-admins", "email_verified": None}
        assert (await it.come()).status_code == 303
        assert (await it.client.get(f"{PREFIX}/policy")).status_code == 403


async def test_only_who_has_the_claim_comes_in(tmp_path: Path, clock: FakeClock) -> None:
    more = ", only: {claim: groups, value: gpu-users}, user: name"
    async with company(tmp_path, clock, more) as it:
        it.provider.claims |= {"name": "alice", "groups": "gpu-users"}
        assert (await it.come()).status_code == 303
        it.provider.changed = {"groups": ["others"]}
        answer = await it.come()
        assert (answer.status_code, "groups has no gpu-users" in answer.text) == (403, True)


async def test_a_gateway_without_a_provider_has_no_such_way(
    tmp_path: Path, clock: FakeClock
) -> None:
    text = POLICY.replace("{tls:", f"{{data: {tmp_path}, tls:")
    async with assembled(tmp_path, clock, text) as gateway, browser(gateway) as client:
        assert (await client.get(WAY)).status_code == 404
        assert "Sign in with" not in (await client.get(SIGN_IN)).text
