"""Keys are found by their hash, from memory, and never after they were revoked."""

from __future__ import annotations

import contextlib
import os
import random
import re
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.api_keys import generate_key
from gateway.clock import FakeClock
from gateway.storage.sqlite.keys import SqliteKeys
from gateway.types import Limit, Principal

ROOT = Path(__file__).parents[4]
ALICE = Principal(
    key_id="k1",
    user="alice",
    plan="free",
    role="admin",
    tags={"team": "search"},
    limits=(Limit("requests", 5, "minute"),),
)
KEY, OTHER = "sg-" + "a" * 40, "sg-" + "b" * 40


@pytest.fixture
def keys(tmp_path: Path, clock: FakeClock) -> Iterator[SqliteKeys]:
    with contextlib.closing(SqliteKeys(tmp_path / "keys.db", clock=clock)) as keys:
        yield keys


def test_a_change_by_another_connection_is_seen_by_the_very_next_find(
    keys: SqliteKeys, tmp_path: Path, clock: FakeClock
) -> None:
    """A hundred times over, far faster than the time stamps of files can tell."""
    with contextlib.closing(SqliteKeys(tmp_path / "keys.db", clock=clock)) as command_line:
        for number in range(100):
            key = generate_key()
            command_line.create(Principal(key_id=f"n{number}", user="bob"), key)
            assert keys.find(key) is not None
            command_line.revoke(f"n{number}")
            assert keys.find(key) is None


def test_what_is_trusted_for_a_while_is_asked_again_after_it(
    tmp_path: Path, clock: FakeClock
) -> None:
    """A revocation elsewhere is late by that much at the most; one made here is not late at all,
    nor is a key that was made elsewhere."""
    path = tmp_path / "keys.db"
    with (
        contextlib.closing(SqliteKeys(path, clock=clock, trust_s=0.5)) as keys,
        contextlib.closing(SqliteKeys(path, clock=clock)) as command_line,
    ):
        assert keys.find(KEY) is None
        command_line.create(ALICE, KEY)
        assert keys.find(KEY) == ALICE
        command_line.revoke("k1")
        assert keys.find(KEY) == ALICE
        clock.move(0.5)
        assert keys.find(KEY) is None
        keys.create(Principal(key_id="k2", user="bob"), OTHER)
        assert keys.find(OTHER) is not None
        keys.revoke("k2")
        assert keys.find(OTHER) is None


def test_a_revocation_in_another_process_is_seen_by_the_very_next_find(
    keys: SqliteKeys, tmp_path: Path
) -> None:
    keys.create(ALICE, KEY)
    assert keys.find(KEY) == ALICE
    program = (
        "import sys; from gateway.storage.sqlite.keys import SqliteKeys\n"
        "SqliteKeys(sys.argv[1]).revoke('k1')"
    )
    path = str(tmp_path / "keys.db")
    subprocess.run([sys.executable, "-c", program, path], cwd=ROOT, check=True, timeout=30)
    assert keys.find(KEY) is None


def test_a_change_that_was_rolled_back_changes_nothing(keys: SqliteKeys, tmp_path: Path) -> None:
    keys.create(ALICE, KEY)
    with contextlib.closing(
        sqlite3.connect(tmp_path / "keys.db", isolation_level=None)
    ) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("UPDATE keys SET revoked_at = 1")
        assert keys.find(KEY) == ALICE
        connection.execute("ROLLBACK")
    assert keys.find(KEY) == ALICE


def test_the_file_holds_no_key_and_is_its_owners_alone(keys: SqliteKeys, tmp_path: Path) -> None:
    keys.create(ALICE, KEY)
    keys.rotate("k1", OTHER)
    content = (tmp_path / "keys.db").read_bytes()
    assert b"a" * 20 not in content
    assert b"b" * 20 not in content
    assert stat.S_IMODE(os.stat(tmp_path / "keys.db").st_mode) == 0o600


def test_a_file_that_others_could_read_is_closed_to_them(tmp_path: Path) -> None:
    (tmp_path / "keys.db").touch(0o644)
    SqliteKeys(tmp_path / "keys.db").close()
    assert stat.S_IMODE(os.stat(tmp_path / "keys.db").st_mode) == 0o600


def test_a_generated_key_is_forty_letters_and_digits_of_the_source_given() -> None:
    chance = random.Random(1)
    first, second = generate_key(chance.choice), generate_key(chance.choice)
    assert first != second
    assert first == generate_key(random.Random(1).choice)
    for key in (first, generate_key()):
        assert re.fullmatch(r"sg-[A-Za-z0-9]{40}", key)
