"""Whoever has the database of the keys has no key: nothing in it is taken for one."""

from __future__ import annotations

import contextlib
import re
import sqlite3
from pathlib import Path

from gateway.api_keys import digest_of, generate_key
from gateway.clock import FakeClock
from gateway.storage.audit import Act
from gateway.storage.key_store import KeyStore
from gateway.storage.postgres.keys import PostgresKeys
from gateway.storage.sqlite.keys import SqliteKeys
from gateway.types import Principal
from tests.postgres_server import PostgresServer

ACT = Act(at=1.0, actor="os:root", act="key.create")
SHOWN = 7
"""Characters of a key that are kept to recognise it by, ``sg-`` among them."""


def used(keys: KeyStore) -> list[str]:
    """The keys of a store in which all has happened that can happen to one."""
    made = [generate_key() for _ in range(4)]
    for number, key in enumerate(made[:3]):
        keys.create(Principal(key_id=f"k{number}", user="alice"), key, act=ACT)
    keys.rotate("k0", made[3], grace_s=60, act=ACT)
    keys.revoke("k1", act=ACT)
    keys.note_uses({"k2": 5.0})
    return made


def check_yields_no_key(keys: KeyStore, made: list[str], stolen: str) -> None:
    """``stolen``: all that the database holds, as text."""
    assert all(digest_of(key).hex() in stolen for key in made)
    for key in made:
        assert keys.find(key) is not None or key == made[1]
        assert key[: SHOWN + 1] not in stolen
        assert key[SHOWN:] not in stolen
    words = set(re.findall(r"[\w:-]+", stolen))
    tried = {*words, *(f"sg-{word}" for word in words)}
    assert not any(keys.find(word) for word in tried)


def test_a_stolen_file_yields_no_key(tmp_path: Path, clock: FakeClock) -> None:
    path = tmp_path / "keys.db"
    with contextlib.closing(SqliteKeys(path, clock=clock)) as keys:
        made = used(keys)
        with contextlib.closing(sqlite3.connect(path)) as connection:
            names = [
                name
                for (name,) in connection.execute(
                    "SELECT name FROM sqlite_master WHERE type = 'table'"
                )
            ]
            rows = [
                value.hex() if isinstance(value, bytes) else str(value)
                for name in names
                for row in connection.execute(f"SELECT * FROM {name}")
                for value in row
            ]
        check_yields_no_key(keys, made, " ".join(rows))
    # Not in a page that was left either.
    pages = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert not any(key[SHOWN:].encode() in pages for key in made)


def test_a_stolen_schema_yields_no_key(postgres_session: PostgresServer, clock: FakeClock) -> None:
    database = postgres_session.empty()
    with contextlib.closing(
        PostgresKeys(database, clock=clock, stale_s=float("inf"), timeout_s=30.0)
    ) as keys:
        made = used(keys)
        tables = postgres_session.query(
            f"SELECT tablename FROM pg_tables WHERE schemaname = '{database.schema}'"
        )
        rows = [
            row
            for [name] in tables
            for row in postgres_session.query(f"SELECT t::text FROM {database.schema}.{name} AS t")
        ]
        # A bytea as text is \\x and its digits.
        stolen = " ".join(" ".join(row) for row in rows).replace("\\x", " ")
        check_yields_no_key(keys, made, stolen)
