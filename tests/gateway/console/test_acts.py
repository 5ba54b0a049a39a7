"""What may be done on pages, by whom, and what it leaves in the audit log."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from gateway.clock import FakeClock
from gateway.console.desk import ROOMS
from gateway.console.pages.policy import with_amount
from gateway.console.sign_in.cookies import PREFIX
from gateway.storage.audit import AuditQuery
from gateway.types import ApiError
from tests.gateway.console.visitors import administered, browser, done, looked_at, token_of
from tests.waiting import until

ACTS = [f"{name}/{act}" for name, room in ROOMS.items() for act in room.acts]
FIELDS = {
    "backend": "home",
    "user": "mallory",
    "key": "key_none",
    "yaml": "version: 1",
    "version": "0123456789ab",
    "place": "plans|default|spend",
    "amount": "9 USD/month",
    "job": "job_1",
    "webhook": "ops",
}


@pytest.mark.parametrize("act", ACTS)
async def test_nothing_is_done_without_the_session_s_own_form_and_nothing_of_an_admin_s_by_a_user(
    act: str, tmp_path: Path, clock: FakeClock
) -> None:
    async with looked_at(tmp_path, clock) as gateway:
        inner, before = gateway.inner, gateway.inner.active.policy.version
        for key, token in ((gateway.key("root", admin=True), ""), (gateway.key("alice"), None)):
            async with browser(gateway, key) as client:
                mine = await token_of(client) if token is None else token
                answer = await client.post(f"{PREFIX}/{act}", data={"token": mine, **FIELDS})
                assert answer.status_code in (403, 404)
        assert inner.keys.audit(AuditQuery()) == []
        assert (inner.active.policy.version, inner.active.backend("home").draining) == (
            before,
            False,
        )


async def test_a_form_whose_token_is_no_token_at_all_is_refused(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with administered(tmp_path, clock) as (_, client):
        data = {"token": "\u00e9\u20ac", "backend": "home"}
        answer = await client.post(f"{PREFIX}/backends/drain", data=data)
        assert answer.status_code == 403


async def test_a_backend_is_drained_and_asked_again(tmp_path: Path, clock: FakeClock) -> None:
    async with administered(tmp_path, clock) as (gateway, client):
        answer = await done(client, "backends/drain", backend="home")
        page = await client.get(answer.headers["location"])
        assert gateway.inner.active.backend("home").draining
        assert "It is sent no more calls" in page.text
        await done(client, "backends/enable", backend="home")
        assert not gateway.inner.active.backend("home").draining
        acts = gateway.inner.keys.audit(AuditQuery())
        assert [(one.act.act, one.act.outcome) for one in acts][::-1] == [
            ("backend.drain", "begun"),
            ("backend.drain", "done"),
            ("backend.enable", "begun"),
            ("backend.enable", "done"),
        ]


async def test_a_key_is_shown_once_when_it_is_made_and_ends_when_it_is_revoked(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with administered(tmp_path, clock) as (gateway, client):
        made = await done(client, "keys/create", user="carol", spend="1 USD/day")
        [key] = re.findall(r"sg-[A-Za-z0-9]{40}", made.text)
        found = gateway.inner.keys.find(key)
        assert found is not None
        assert found.user == "carol"
        listed = (await client.get(f"{PREFIX}/keys")).text
        assert key not in listed
        assert "spend 1 USD/day" in listed
        await done(client, "keys/revoke", key=found.key_id)
        assert gateway.inner.keys.find(key) is None


async def test_a_key_that_cannot_be_made_is_explained_and_what_was_typed_stays(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with administered(tmp_path, clock) as (_, client):
        answer = await done(client, "keys/create", user="carol", spend="much")
        assert answer.status_code == 400
        assert 'value="carol"' in answer.text
        assert 'role="alert"' in answer.text


async def test_a_draft_of_a_policy_that_is_none_is_explained_and_stays(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with administered(tmp_path, clock) as (_, client):
        answer = await done(client, "policy/check", yaml="version: 1\ncolour: red\n")
        assert answer.status_code == 400
        assert "colour" in answer.text
        assert "colour: red</textarea>" in answer.text.replace("\n</textarea>", "</textarea>")


async def test_a_policy_is_put_in_force_only_where_the_one_it_was_compared_with_still_is(
    tmp_path: Path, clock: FakeClock
) -> None:
    """Of two administrators who change it at once the second one is told so, and keeps his draft;
    one who has seen no difference is shown it."""
    async with (
        administered(tmp_path, clock) as (gateway, one),
        browser(gateway, gateway.key("ops", admin=True)) as other,
    ):
        inner = gateway.inner
        before = inner.active.policy
        drafts = [before.document.replace("5 USD", f"{most} USD") for most in (6, 7)]
        unseen = await done(one, "policy/apply", yaml=drafts[0])
        assert (unseen.status_code, inner.active.policy) == (200, before)
        assert "What would change" in unseen.text
        [expected] = re.findall(r'name="expected" value="(\w+)"', unseen.text)
        first = await done(one, "policy/apply", yaml=drafts[0], expected=expected)
        assert first.headers["location"].endswith("done=applied")
        second = await done(other, "policy/apply", yaml=drafts[1], expected=expected)
        assert second.status_code == 409
        assert "changed meanwhile" in second.text
        assert "7 USD" in second.text
        assert "6 USD" in inner.active.policy.document


async def test_a_ping_costs_what_its_button_says_and_leads_to_its_row(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with administered(tmp_path, clock) as (gateway, client):
        page = (await client.get(f"{PREFIX}/backends/burst")).text
        assert re.search(r"A ping of burst costs about \$0\.\d+, at most \$0\.\d+", page)
        burst = gateway.fake("burst")
        burst.runs_for = 0.25
        asking = asyncio.create_task(done(client, "backends/ping", backend="burst"))
        await until(lambda: burst.pings > 0, "it is pinged")
        await clock.advance(burst.runs_for + burst.cold_s)
        answer = await asking
        assert re.search(r"It answered after .* It cost \$0\.\d+", answer.text)
        row = re.search(r"/dashboard/calls/(ping_[0-9a-f]+)", answer.text)
        assert row is not None
        assert (await client.get(row[0])).status_code == 200


def test_another_amount_changes_that_value_alone_wherever_it_stands() -> None:
    text = "# a comment\nplans:\n  default: {spend: 5 USD/month, requests: 6/minute}\n"
    changed = with_amount(text, ["plans", "default", "spend"], "9 USD/month")
    assert changed == text.replace("5 USD", "9 USD")


@pytest.mark.parametrize(
    ("place", "amount"),
    [("plans|gold|spend", "9 USD/month"), ("plans|default|requests", "9/minute"),
     ("plans", "9 USD/month"), ("plans|default|spend", "9 USD/month\nversion: 2"),
     ("plans|default|spend", "")],
    ids=["unknown", "no-money", "no-value", "more-lines", "nothing"],
)  # fmt: skip
def test_what_is_no_budget_and_no_amount_is_refused(place: str, amount: str) -> None:
    text = "plans: {default: {spend: 5 USD/month, requests: 6/minute}}\n"
    with pytest.raises(ApiError):
        with_amount(text, place.split("|"), amount)
