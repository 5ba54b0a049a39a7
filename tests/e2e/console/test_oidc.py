"""A person signs in by an OpenID provider on another site, in a browser."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from benchmarks.console.month import POLICY
from tests.e2e.console.visitor import Visitor, needs_chromium
from tests.live import LiveGateway

pytest.importorskip("joserfc", reason="the extra oidc is not installed")

from tests.gateway.console.provider import CLIENT, SECRET, Claims, Provider, provider

pytestmark = needs_chromium
BUTTON = "Sign in with Company login"


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LiveGateway, Provider]]:
    """The provider is at localhost, the gateway at 127.0.0.1: for a browser another site."""
    with provider(time.time, host="localhost") as made:
        env = {"OIDC_SECRET": SECRET}
        gateway = LiveGateway(tmp_path_factory.mktemp("oidc"), POLICY, env=env)
        oidc = {
            "issuer": made.issuer,
            "name": "Company login",
            "client_id": CLIENT,
            "client_secret": "${OIDC_SECRET}",
            "url": f"http://127.0.0.1:{gateway.port}",
            "admin": {"claim": "groups", "value": "gpu-admins"},
        }
        gateway.write_config(POLICY, server={"console": {"oidc": oidc}})
        with gateway:
            yield gateway, made


class Person(Visitor):
    """Whose provider lets him in where he says yes."""

    def come(self, answer: str = "Yes") -> None:
        self.open()
        self.page.get_by_role("link", name=BUTTON).click()
        self.page.get_by_role("heading", name="Company login").wait_for()
        self.page.get_by_role("link", name=answer).click()


@pytest.fixture
def person(browser: Any, company: tuple[LiveGateway, Provider]) -> Iterator[Person]:
    context = browser.new_context()
    yield Person(context.new_page(), company[0])
    context.close()


def test_a_person_signs_in_works_and_signs_out(
    person: Person, company: tuple[LiveGateway, Provider]
) -> None:
    gateway, made = company
    made.changed = {"groups": ["staff", "gpu-admins"]}
    page = person.page
    person.open("backends?range=7d")
    page.get_by_role("link", name=BUTTON).click()
    page.get_by_role("link", name="Yes").click()
    page.get_by_role("heading", name="Backends").wait_for()
    assert page.url.endswith("/dashboard/backends?range=7d")
    assert "alice@example.com, admin" in page.inner_text("header")
    page.get_by_role("row", name="modal-spare").get_by_role("button", name="Drain").click()
    page.get_by_text("It is sent no more calls").wait_for()
    page.get_by_role("button", name="Enable").click()
    page.get_by_text("It is sent calls again.").wait_for()
    with gateway.client(gateway.admin_key) as admin:
        acts = admin.get("/admin/audit").json()["data"]
    assert {act["actor"] for act in acts if act["target"] == "modal-spare"} == {"oidc:248289761001"}
    session = page.context.cookies()
    page.get_by_role("button", name="Sign out").click()
    page.get_by_role("heading", name="Sign in").wait_for()
    page.context.add_cookies(session)
    person.open("backends")
    assert page.get_by_role("heading", name="Sign in").is_visible(), "a copy of the cookie is none"
    assert person.faults == []


@pytest.mark.parametrize(
    ("lie", "words"),
    [
        pytest.param({"aud": "another"}, "for another client (aud)", id="another audience"),
        pytest.param({"exp": 1_000_000}, "It has expired", id="expired"),
        pytest.param({"nonce": "of yesterday"}, "another sign-in (nonce)", id="another sign-in"),
        pytest.param({"email_verified": False}, "not verified", id="not verified"),
    ],
)
def test_a_token_that_is_not_believed_is_a_page_that_says_why(
    lie: Claims, words: str, person: Person, company: tuple[LiveGateway, Provider]
) -> None:
    _, made = company
    made.changed = lie
    person.come()
    person.page.get_by_text(words).wait_for()
    person.open()
    assert person.page.get_by_role("heading", name="Sign in").is_visible()
    made.changed = {}
    person.come()
    person.page.get_by_role("heading", name="Now").wait_for()


def test_whoever_says_no_is_told_that_the_provider_let_nobody_in(
    person: Person, company: tuple[LiveGateway, Provider]
) -> None:
    person.come("No")
    person.page.get_by_text("The provider let nobody in: access_denied").wait_for()
    person.page.get_by_role("link", name="to the sign-in").click()
    person.page.get_by_role("link", name=BUTTON).wait_for()


def test_a_way_back_leads_in_once_and_in_no_other_browser(
    browser: Any, person: Person, company: tuple[LiveGateway, Provider]
) -> None:
    """Neither whoever replays the address, nor whoever is sent another's."""
    _, made = company
    made.changed = {}
    ways: list[str] = []
    person.page.on("request", lambda request: ways.append(request.url))
    person.come()
    person.page.get_by_role("heading", name="Now").wait_for()
    [back] = [way for way in ways if "/sign-in/oidc/back" in way]
    person.page.get_by_role("button", name="Sign out").click()
    person.page.get_by_role("heading", name="Sign in").wait_for()
    stranger = browser.new_context()
    for page in (person.page, stranger.new_page()):
        page.goto(back)
        page.get_by_text("This sign-in was not begun here, or too long ago").wait_for()
    stranger.close()
