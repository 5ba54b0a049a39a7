"""Keys that several gateways share: told of each change, or asking for it, and never believed when
they are old."""

from __future__ import annotations

import contextlib

import pytest

from gateway.clock import FakeClock
from gateway.storage.base import StorageUnavailable
from gateway.storage.postgres.keys import PostgresKeys
from gateway.store_urls import Database
from gateway.types import Principal
from tests.postgres_server import PostgresServer
from tests.waiting import wait_until

ALICE = Principal(key_id="k1", user="alice")
KEY, OTHER = "sg-" + "a" * 40, "sg-" + "b" * 40
SELDOM = 3_600.0


def test_a_change_elsewhere_is_told_and_needs_no_question(database: Database) -> None:
    """Who would ask but once an hour hears of it all the same."""
    with (
        contextlib.closing(PostgresKeys(database, poll_s=SELDOM, stale_s=SELDOM)) as one,
        contextlib.closing(PostgresKeys(database, poll_s=SELDOM, stale_s=SELDOM)) as two,
    ):
        one.create(ALICE, KEY)
        wait_until(lambda: two.find(KEY) == ALICE)
        two.revoke("k1")
        assert two.find(KEY) is None
        wait_until(lambda: one.find(KEY) is None)


def test_a_change_of_which_no_word_comes_is_asked_for(
    database: Database, postgres_session: PostgresServer
) -> None:
    """By hand, and so without a notification."""
    with contextlib.closing(PostgresKeys(database, poll_s=0.01)) as keys:
        keys.create(ALICE, KEY)
        postgres_session.query(
            f"SET search_path = {database.schema}; UPDATE key_changes SET revision = revision + 1; "
            "UPDATE keys SET revoked_at = 1, revision = (SELECT revision FROM key_changes)"
        )
        wait_until(lambda: keys.find(KEY) is None)


def test_a_session_that_was_ended_is_made_anew_and_nothing_is_missed(
    database: Database, postgres_session: PostgresServer
) -> None:
    with (
        contextlib.closing(PostgresKeys(database, poll_s=0.05)) as one,
        contextlib.closing(PostgresKeys(database, poll_s=0.05)) as two,
    ):
        for number in range(5):
            postgres_session.query(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name = 'spillgate keys'"
            )
            key = f"sg-{number}"

            def made() -> bool:
                with contextlib.suppress(StorageUnavailable):
                    one.create(Principal(key_id=f"n{number}", user="bob"), key)  # noqa: B023
                    return True
                return False

            wait_until(made)
            wait_until(lambda: _finds(two, key))  # noqa: B023


def test_keys_that_could_not_be_compared_for_long_are_believed_no_more(
    server: PostgresServer, clock: FakeClock
) -> None:
    """One of them may have been revoked meanwhile. Changes are refused at once."""
    with contextlib.closing(
        PostgresKeys(server.empty(), clock=clock, poll_s=0.01, stale_s=10.0)
    ) as keys:
        keys.create(ALICE, KEY)
        server.stop()
        with pytest.raises(StorageUnavailable, match="keys: postgresql://"):
            keys.create(Principal(key_id="k2", user="bob"), OTHER)
        wait_until(lambda: bool(keys.failing))
        assert keys.find(KEY) == ALICE
        clock.move(11.0)
        with pytest.raises(StorageUnavailable, match="too long"):
            keys.find(KEY)
        server.start()
        wait_until(lambda: _finds(keys, KEY))


def _finds(keys: PostgresKeys, key: str) -> bool:
    with contextlib.suppress(StorageUnavailable):
        return keys.find(key) is not None
    return False


def test_a_server_that_hangs_keeps_who_makes_a_key_no_longer_than_the_bound(
    server: PostgresServer,
) -> None:
    with contextlib.closing(PostgresKeys(server.empty(), timeout_s=0.3)) as keys:
        server.pause()
        with pytest.raises(StorageUnavailable, match="in time"):
            keys.create(ALICE, KEY)
        server.resume()


def test_a_database_that_cannot_be_reached_is_refused(server: PostgresServer) -> None:
    database = server.empty()
    server.stop()
    with pytest.raises(StorageUnavailable, match=r"keys: postgresql://127\.0\.0\.1"):
        PostgresKeys(database)


def test_only_what_has_changed_is_read(database: Database) -> None:
    """A thousand keys are read once, in pages; one more is one row."""
    with contextlib.closing(PostgresKeys(database, timeout_s=60.0)) as one:
        for number in range(30):
            one.create(Principal(key_id=f"n{number}", user="bob"), f"sg-{number}")
        with contextlib.closing(PostgresKeys(database)) as two:
            assert all(two.find(f"sg-{number}") for number in range(30))
            assert len(two.list()) == 30


def test_the_database_holds_no_key(database: Database, postgres_session: PostgresServer) -> None:
    with contextlib.closing(PostgresKeys(database)) as keys:
        keys.create(ALICE, KEY)
        found = postgres_session.query(
            f"SELECT * FROM {database.schema}.keys, {database.schema}.key_hashes"
        )
    assert "a" * 20 not in str(found)
