"""Keys of every store are found by their hash, from memory, and never after they were revoked."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from gateway.api_keys import generate_key
from gateway.clock import FakeClock
from gateway.storage.key_store import KeyStore
from gateway.types import Limit, Permitted, Principal
from tests.gateway.storage.opened import OpenKeys
from tests.waiting import wait_until

ALICE = Principal(
    key_id="k1",
    user="alice",
    plan="free",
    role="admin",
    tags={"team": "search"},
    limits=(Limit("requests", 5, "minute"),),
    permitted=Permitted(models=("chat",), paths=("/usage",), addresses=("10.0.0.0/8",)),
)
KEY, OTHER = "sg-" + "a" * 40, "sg-" + "b" * 40


@pytest.fixture
def keys(open_keys: OpenKeys) -> Iterator[KeyStore]:
    with contextlib.closing(open_keys()) as keys:
        yield keys


def test_a_key_is_found_with_all_that_its_principal_has(keys: KeyStore) -> None:
    record = keys.create(ALICE, KEY)
    assert keys.find(KEY) == ALICE
    assert keys.find(OTHER) is None
    assert keys.find("") is None
    assert keys.find("sg-\ud800é") is None
    assert record.hint == "sg-aaaa"


def test_keys_outlive_the_process_that_made_them(
    keys: KeyStore, open_keys: OpenKeys, clock: FakeClock
) -> None:
    made = keys.create(ALICE, KEY, expires_at=clock.time() + 60)
    keys.close()
    with contextlib.closing(open_keys()) as again:
        assert again.find(KEY) == ALICE
        assert again.list() == [made]


def test_neither_a_key_id_nor_a_key_can_be_given_twice(keys: KeyStore) -> None:
    keys.create(ALICE, KEY)
    with pytest.raises(ValueError, match="k1"):
        keys.create(ALICE, OTHER)
    with pytest.raises(ValueError, match="k2"):
        keys.create(Principal(key_id="k2", user="bob"), KEY)
    assert keys.find(OTHER) is None
    assert [record.principal.user for record in keys.list()] == ["alice"]


def test_a_revoked_key_is_gone_at_once_and_for_ever(keys: KeyStore, clock: FakeClock) -> None:
    keys.create(ALICE, KEY)
    assert keys.revoke("k1")
    assert keys.find(KEY) is None
    assert not keys.revoke("k1")
    assert not keys.revoke("unknown")
    assert [record.revoked_at for record in keys.list()] == [clock.time()]


def test_a_key_ends_at_the_instant_it_expires(keys: KeyStore, clock: FakeClock) -> None:
    keys.create(ALICE, KEY, expires_at=clock.time() + 10)
    clock.move(9.999)
    assert keys.find(KEY) == ALICE
    clock.move(0.001)
    assert keys.find(KEY) is None


def test_after_a_rotation_both_keys_work_for_the_grace_and_then_the_new_one_alone(
    keys: KeyStore, clock: FakeClock
) -> None:
    keys.create(ALICE, KEY)
    record = keys.rotate("k1", OTHER, grace_s=60)
    assert (record.principal, record.hint) == (ALICE, "sg-bbbb")
    assert keys.find(KEY) == ALICE
    assert keys.find(OTHER) == ALICE
    clock.move(60)
    assert keys.find(KEY) is None
    assert keys.find(OTHER) == ALICE
    assert len(keys.list()) == 1


def test_a_second_rotation_never_lengthens_the_life_of_an_old_key(
    keys: KeyStore, clock: FakeClock
) -> None:
    keys.create(ALICE, KEY)
    keys.rotate("k1", OTHER)
    keys.rotate("k1", "sg-" + "c" * 40, grace_s=60)
    assert keys.find(KEY) is None
    assert keys.find(OTHER) == ALICE


def test_a_revocation_ends_the_old_key_of_a_rotation_too(keys: KeyStore) -> None:
    keys.create(ALICE, KEY)
    keys.rotate("k1", OTHER, grace_s=60)
    keys.revoke("k1")
    assert keys.find(KEY) is None
    assert keys.find(OTHER) is None


def test_a_rotated_key_still_expires_when_it_was_to(keys: KeyStore, clock: FakeClock) -> None:
    keys.create(ALICE, KEY, expires_at=clock.time() + 10)
    keys.rotate("k1", OTHER, grace_s=60)
    clock.move(10)
    assert keys.find(KEY) is None
    assert keys.find(OTHER) is None


def test_a_key_that_is_not_alive_or_a_secret_in_use_cannot_be_rotated(
    keys: KeyStore, clock: FakeClock
) -> None:
    keys.create(ALICE, KEY, expires_at=clock.time() + 10)
    with pytest.raises(ValueError, match="no key 'k9'"):
        keys.rotate("k9", OTHER)
    with pytest.raises(ValueError, match="in use"):
        keys.rotate("k1", KEY)
    assert keys.find(KEY) == ALICE
    clock.move(10)
    with pytest.raises(ValueError, match="expired"):
        keys.rotate("k1", OTHER)


def test_changes_elsewhere_are_seen_whatever_they_are(keys: KeyStore, open_keys: OpenKeys) -> None:
    """Made, rotated and revoked, many at once: as if each had been made here."""
    with contextlib.closing(open_keys()) as elsewhere:
        for round in range(5):
            made = {f"n{round}-{number}": generate_key() for number in range(20)}
            for key_id, key in made.items():
                elsewhere.create(Principal(key_id=key_id, user="bob"), key)
            wait_until(lambda: all(keys.find(key) for key in made.values()))  # noqa: B023
            newer = {key_id: generate_key() for key_id in made}
            for key_id, key in newer.items():
                elsewhere.rotate(key_id, key)
            wait_until(lambda: all(keys.find(key) for key in newer.values()))  # noqa: B023
            assert not any(keys.find(key) for key in made.values())
            for key_id in made:
                elsewhere.revoke(key_id)
            wait_until(lambda: not any(keys.find(key) for key in newer.values()))  # noqa: B023


def test_the_last_use_of_a_key_is_listed_and_is_no_change_of_the_key(
    keys: KeyStore, open_keys: OpenKeys
) -> None:
    """The later of two that several processes note; of a key that is not there nothing is."""
    keys.create(ALICE, KEY)
    assert [record.last_used_at for record in keys.list()] == [None]
    with contextlib.closing(open_keys()) as elsewhere:
        before = elsewhere.find(KEY)
        keys.note_uses({"k1": 20.0, "gone": 1.0})
        elsewhere.note_uses({"k1": 10.0})
        assert elsewhere.find(KEY) is before
    assert [record.last_used_at for record in keys.list()] == [20.0]
    keys.note_uses({"k1": 30.5})
    assert [record.last_used_at for record in keys.list()] == [30.5]
    assert keys.rotate("k1", OTHER).last_used_at == 30.5


def test_a_key_knows_when_it_ends_by_its_expiry_or_the_grace_of_its_rotation(
    keys: KeyStore, clock: FakeClock
) -> None:
    keys.create(ALICE, KEY)
    assert keys.ends_at(KEY) is keys.ends_at(OTHER) is None
    keys.rotate("k1", OTHER, grace_s=60)
    assert keys.find(KEY) == keys.find(OTHER) == ALICE
    assert (keys.ends_at(KEY), keys.ends_at(OTHER)) == (clock.time() + 60, None)
    expiring = generate_key()
    keys.create(Principal(key_id="k2", user="bob"), expiring, expires_at=clock.time() + 10)
    assert keys.find(expiring) is not None
    assert keys.ends_at(expiring) == clock.time() + 10


def test_keys_that_end_before_an_instant_are_found_while_they_are_in_use(
    keys: KeyStore, clock: FakeClock
) -> None:
    now = clock.time()
    ends = {"soon": now + 10, "later": now + 99, "revoked": now + 10, "rotated": now + 20}
    for name, at in ends.items():
        keys.create(Principal(key_id=name, user="alice"), generate_key(), expires_at=at)
    keys.create(Principal(key_id="never", user="alice"), generate_key())
    keys.revoke("revoked")
    keys.rotate("rotated", generate_key(), grace_s=5)
    found = {one.principal.key_id: one.expires_at for one in keys.ending(now + 50)}
    assert found == {"soon": now + 10, "rotated": now + 20}
    clock.move(10)
    assert [one.principal.key_id for one in keys.ending(now + 50)] == ["rotated"]
