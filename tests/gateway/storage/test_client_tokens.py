"""Client tokens of every store are found as keys are, and are listed and kept apart from them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from gateway.clock import FakeClock
from gateway.storage.client_tokens import KEPT_S
from gateway.storage.key_store import KeyStore
from gateway.types import ClientToken, Limit, Principal
from tests.gateway.storage.opened import OpenKeys

ALICE = Principal(key_id="k1", user="alice")
KEY = "sg-" + "a" * 40


@pytest.fixture
def keys(open_keys: OpenKeys) -> Iterator[KeyStore]:
    with contextlib.closing(open_keys()) as keys:
        keys.create(ALICE, KEY)
        yield keys


def token(name: str) -> Principal:
    bounds = (Limit("nano_usd", 5, "24h"),)
    own = ClientToken(id=name, key_digest="00", limits=bounds, origins=("https://a.example",))
    return Principal(key_id="k1", user="alice", token=own)


def names(keys: KeyStore, key_id: str | None = None) -> list[str]:
    return [record.principal.id for record in keys.tokens(key_id)]


def test_a_token_is_found_with_all_that_it_has_and_is_no_key(
    keys: KeyStore, clock: FakeClock
) -> None:
    keys.create(token("tok_1"), "sgt-one", expires_at=clock.time() + 60)
    assert keys.find("sgt-one") == token("tok_1")
    assert [record.principal for record in keys.list()] == [ALICE]
    assert not keys.ending(clock.time() + 600)


def test_tokens_are_listed_newest_first_each_by_its_key(keys: KeyStore, clock: FakeClock) -> None:
    for name in ("tok_1", "tok_2"):
        keys.create(token(name), f"sgt-{name}", expires_at=clock.time() + 60)
        clock.move(1.0)
    assert names(keys) == names(keys, "k1") == ["tok_2", "tok_1"]
    assert names(keys, "k2") == []
    clock.move(58.5)
    assert names(keys) == ["tok_2"]


def test_one_is_found_by_its_id_alone_whatever_is_listed(keys: KeyStore, clock: FakeClock) -> None:
    for number in range(3):
        keys.create(token(f"tok_{number}"), f"sgt-{number}", expires_at=clock.time() + 60)
        clock.move(0.01)
    for whose, found in ((None, ["tok_0"]), ("k1", ["tok_0"]), ("k2", [])):
        assert [one.principal.id for one in keys.tokens(whose, "tok_0")] == found
    assert not keys.tokens("k1", "k1")  # a key is none
    clock.move(60.0)
    assert not keys.tokens("k1", "tok_0")


def test_a_revoked_token_is_gone_at_once(keys: KeyStore, clock: FakeClock) -> None:
    keys.create(token("tok_1"), "sgt-one", expires_at=clock.time() + 60)
    assert keys.revoke("tok_1")
    assert keys.find("sgt-one") is None
    assert keys.find(KEY) == ALICE
    assert [record.revoked_at for record in keys.tokens("k1")] == [clock.time()]


def test_what_ended_long_ago_goes_as_others_are_made(keys: KeyStore, clock: FakeClock) -> None:
    keys.create(token("tok_1"), "sgt-one", expires_at=clock.time() + 60)
    clock.move(60.0)
    assert (keys.find("sgt-one"), keys.why_not("sgt-one")) == (None, "expired")
    clock.move(KEPT_S)
    keys.create(token("tok_2"), "sgt-two", expires_at=clock.time() + 60)
    keys.create(token("tok_1"), "sgt-one", expires_at=clock.time() + 60)  # its name is free
    assert sorted(names(keys)) == ["tok_1", "tok_2"]
