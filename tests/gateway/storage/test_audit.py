"""The audit log is added to, with the change that it tells of or not at all, and never changed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import msgspec
import pytest

from gateway.storage.audit import Act, AuditQuery
from gateway.storage.key_store import KeyStore
from gateway.types import Principal
from tests.gateway.storage.opened import OpenKeys

ACT = Act(at=1.5, actor="key:k0", address="10.0.0.1", act="key.create", details={"user": "alice"})
ALICE = Principal(key_id="k1", user="alice")
KEY, OTHER = "sg-" + "a" * 40, "sg-" + "b" * 40
ALL = AuditQuery()


@pytest.fixture
def keys(open_keys: OpenKeys) -> Iterator[KeyStore]:
    with contextlib.closing(open_keys()) as keys:
        yield keys


def acts(keys: KeyStore, query: AuditQuery = ALL) -> list[Act]:
    return [entry.act for entry in keys.audit(query)]


def named(name: str) -> Act:
    return msgspec.structs.replace(ACT, act=name)


def test_an_entry_is_told_as_it_was_written_and_by_every_process(
    keys: KeyStore, open_keys: OpenKeys
) -> None:
    keys.record(ACT)
    with contextlib.closing(open_keys()) as elsewhere:
        elsewhere.record(named("policy.apply"))
        assert acts(keys) == acts(elsewhere) == [named("policy.apply"), ACT]


def test_a_change_of_a_key_and_its_entry_are_one(keys: KeyStore) -> None:
    """What was not changed has no entry, whatever was asked for."""
    keys.create(ALICE, KEY, act=named("create"))
    with pytest.raises(ValueError, match="k1"):
        keys.create(ALICE, OTHER, act=named("create twice"))
    keys.rotate("k1", OTHER, act=named("rotate"))
    with pytest.raises(ValueError, match="in use"):
        keys.rotate("k1", OTHER, act=named("rotate to itself"))
    assert keys.revoke("k1", act=named("revoke"))
    assert not keys.revoke("k1", act=named("revoke twice"))
    with pytest.raises(ValueError, match="revoked"):
        keys.rotate("k1", KEY, act=named("rotate what is revoked"))
    assert [act.act for act in acts(keys)] == ["revoke", "rotate", "create"]


def test_pages_go_on_where_they_ended_whatever_is_added_meanwhile(keys: KeyStore) -> None:
    for number in range(5):
        keys.record(named(f"act {number}"))
    first = keys.audit(AuditQuery(most=2))
    keys.record(named("later"))
    second = keys.audit(AuditQuery(most=9, before=first[-1].number))
    told = [entry.act.act for entry in (*first, *second)]
    assert told == ["act 4", "act 3", "act 2", "act 1", "act 0"]


@pytest.mark.parametrize("field", ["actor", "act", "target"])
def test_one_may_ask_for_some_alone(field: str, keys: KeyStore) -> None:
    wanted = msgspec.structs.replace(ACT, **{field: "wanted"})
    for act in (ACT, wanted, ACT):
        keys.record(act)
    asked = msgspec.structs.replace(ALL, **{field: "wanted"})
    assert acts(keys, asked) == [wanted]
