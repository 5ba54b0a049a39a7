"""A file of keys that is broken, locked, gone or another one: what was read stays."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.clock import FakeClock
from gateway.storage.base import StorageUnavailable
from gateway.storage.sqlite.key_file import SCHEMA_VERSION, KeyFile
from gateway.storage.sqlite.keys import SqliteKeys
from gateway.storage.sqlite.known_keys import MOST_CHANGES, KnownKeys
from gateway.types import Principal
from tests.waiting import until

ALICE, BOB = (Principal(key_id=name[0], user=name) for name in ("alice", "bob"))
KEY, OTHER = "sg-" + "a" * 40, "sg-" + "b" * 40
LATER_S = 1.5
"""By then it is looked again."""


@pytest.fixture(name="path")
def _path(tmp_path: Path) -> Path:
    return tmp_path / "keys.db"


@pytest.fixture(name="keys")
def _keys(path: Path, clock: FakeClock) -> Iterator[SqliteKeys]:
    """With alice's key in memory."""
    with contextlib.closing(SqliteKeys(path, clock=clock)) as keys:
        keys.create(ALICE, KEY)
        clock.move(LATER_S)
        assert keys.find(KEY) == ALICE
        yield keys


def garbage(path: Path) -> None:
    path.write_bytes(b"no database" * 2000)


def beginning(path: Path) -> None:
    os.truncate(path, 5000)


def nothing(path: Path) -> None:
    os.truncate(path, 0)


def gone(path: Path) -> None:
    path.unlink()


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def newer(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")


def foreign(path: Path) -> None:
    path.unlink()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE other (id)")


def odd_principal(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE keys SET principal = '{}'")
        connection.commit()


BREAKS = [garbage, beginning, nothing, gone, folder, foreign, odd_principal]


# --- at the start --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (garbage, "not a database; put a backup in its place"),
        (beginning, "put a backup in its place"),
        (folder, "a folder is in its place"),
        (newer, "written by a newer Spillgate"),
        (foreign, "another program's database; put a backup"),
        (odd_principal, "put a backup in its place"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_what_cannot_be_used_is_refused_with_its_name_and_what_to_do(
    spoil: Callable[[Path], None], told: str, keys: SqliteKeys, path: Path
) -> None:
    keys.close()
    spoil(path)
    with pytest.raises(StorageUnavailable, match=told) as refused:
        SqliteKeys(path)
    assert str(path) in str(refused.value)


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    with pytest.raises(StorageUnavailable, match=r"data/keys\.db"):
        SqliteKeys(tmp_path / "data" / "keys.db")


def test_a_file_of_before_changes_were_told_is_taken_and_follows(
    path: Path, clock: FakeClock
) -> None:
    """Its tables are those that the first version made."""
    with contextlib.closing(SqliteKeys(path, clock=clock)) as keys:
        keys.create(ALICE, KEY)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        found = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'")
        for (name,) in found.fetchall():
            connection.execute(f"DROP TRIGGER {name}")
        connection.execute("DROP TABLE changes")
        connection.execute("DROP TABLE key_uses")
        connection.execute("DROP TABLE audit")
        connection.execute("DROP TABLE tokens")
        connection.execute("DROP INDEX hashes_by_key")
        connection.execute("PRAGMA user_version = 1")
        connection.commit()
    with contextlib.closing(SqliteKeys(path, clock=clock)) as keys:
        assert keys.find(KEY) == ALICE
        with contextlib.closing(SqliteKeys(path, clock=clock)) as command_line:
            command_line.revoke(ALICE.key_id)
        assert keys.find(KEY) is None


@pytest.mark.parametrize("version", [1, 2, 3, 4], ids=lambda version: f"from {version}")
def test_a_file_of_an_earlier_version_is_brought_up_to_date(
    version: int, path: Path, clock: FakeClock
) -> None:
    with contextlib.closing(SqliteKeys(path, clock=clock)) as keys:
        keys.create(ALICE, KEY)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE tokens")
        if version < 4:
            connection.execute("DROP TABLE audit")
        if version < 3:
            connection.execute("DROP TABLE key_uses")
        connection.execute(f"PRAGMA user_version = {version}")
        connection.commit()
    with contextlib.closing(SqliteKeys(path, clock=clock)) as keys:
        assert keys.find(KEY) == ALICE
        keys.note_uses({ALICE.key_id: 7.0})
        assert [record.last_used_at for record in keys.list()] == [7.0]
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)


# --- while it runs -------------------------------------------------------------------------------


@pytest.mark.parametrize("spoil", BREAKS, ids=lambda spoil: spoil.__name__)
async def test_while_the_file_cannot_be_read_the_keys_in_memory_work_and_it_is_said_once(
    spoil: Callable[[Path], None],
    keys: SqliteKeys,
    path: Path,
    clock: FakeClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A key that is not in memory gets no answer: it may have been made a moment ago."""
    assert keys.failing == ""
    spoil(path)

    def told() -> bool:
        clock.move(LATER_S)
        assert keys.find(KEY) == ALICE
        return keys.failing != ""

    await until(told, "it is told")
    for _ in range(20):
        clock.move(LATER_S)
        assert keys.find(KEY) == ALICE
    with pytest.raises(StorageUnavailable, match=r"keys\.db"):
        keys.find(OTHER)
    assert str(path) in keys.failing
    [record] = [record for record in caplog.records if "stay as they are" in record.message]
    assert record.exc_info is None


@pytest.mark.parametrize("spoil", BREAKS, ids=lambda spoil: spoil.__name__)
async def test_a_backup_in_its_place_is_followed(
    spoil: Callable[[Path], None], keys: SqliteKeys, path: Path, tmp_path: Path, clock: FakeClock
) -> None:
    """What was made after it was taken is no key any more."""
    shutil.copy(path, tmp_path / "backup.db")
    keys.create(BOB, OTHER)
    assert keys.find(OTHER) == BOB
    spoil(path)
    clock.move(LATER_S)
    assert keys.find(KEY) == ALICE
    if path.is_dir():
        path.rmdir()
    shutil.copy(tmp_path / "backup.db", path)

    def followed() -> bool:
        clock.move(LATER_S)
        return not keys.failing and keys.why_not(OTHER) == "unknown"

    await until(followed, "the backup is followed")
    assert keys.find(OTHER) is None
    assert keys.find(KEY) == ALICE


async def test_a_file_that_is_moved_over_it_is_followed_within_a_second(
    keys: SqliteKeys, path: Path, tmp_path: Path, clock: FakeClock
) -> None:
    """Before all of it is read, too."""
    with contextlib.closing(SqliteKeys(tmp_path / "other.db", clock=clock)) as other:
        other.create(BOB, OTHER)
    (tmp_path / "other.db").replace(path)
    clock.move(1.0)
    assert keys.find(KEY) is None
    assert keys.find(OTHER) == BOB

    def is_read() -> bool:
        return keys.find(KEY) is None and keys.why_not(KEY) == "unknown"

    await until(is_read, "it is read")
    keys.revoke(BOB.key_id)
    assert keys.find(OTHER) is None


def test_a_file_that_is_made_anew_is_followed(
    keys: SqliteKeys, path: Path, clock: FakeClock
) -> None:
    """As by ``spillgate keys create`` after somebody has removed it."""
    path.unlink()
    with contextlib.closing(SqliteKeys(path, clock=clock)) as command_line:
        command_line.create(BOB, OTHER)
    clock.move(1.0)
    assert keys.find(OTHER) == BOB
    assert keys.find(KEY) is None


def test_a_writer_that_has_the_lock_delays_nobody_and_its_change_is_known_when_it_is_done(
    keys: SqliteKeys, path: Path
) -> None:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE keys SET revoked_at = 1")
        connection.execute("BEGIN EXCLUSIVE")
        assert keys.find(KEY) == ALICE
        assert keys.failing == ""
        connection.execute("ROLLBACK")
    assert keys.find(KEY) is None


def test_a_lock_that_lasts_is_told(keys: SqliteKeys, path: Path, clock: FakeClock) -> None:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE keys SET revoked_at = 1")
        connection.execute("BEGIN EXCLUSIVE")
        assert keys.find(KEY) == ALICE
        clock.move(LATER_S)
        assert keys.find(KEY) == ALICE
        assert "another program holds its lock" in keys.failing
        connection.execute("ROLLBACK")
    clock.move(LATER_S)
    assert keys.failing == ""


# --- what is read --------------------------------------------------------------------------------


def test_of_many_keys_those_that_have_changed_are_read_alone(path: Path, clock: FakeClock) -> None:
    """Each by its digest, however many there are."""
    with contextlib.closing(SqliteKeys(path, clock=clock)) as keys:
        for number in range(50):
            keys.create(Principal(key_id=f"k{number}", user="bob"), f"sg-{number}")
        file = KeyFile(path)
        with contextlib.closing(file):
            known = KnownKeys.read(file.connection, file.counter)
            keys.revoke("k7")
            keys.create(ALICE, KEY)
            statements: list[str] = []
            file.connection.set_trace_callback(statements.append)
            assert known.read_changes(file.connection, file.counter)
    reads = [text for text in statements if "FROM hashes" in text]
    assert len(reads) == 2
    assert all("WHERE digest = x'" in text for text in reads)
    assert len(known.by_digest) == 51


def test_more_changes_than_are_read_at_once_are_known_at_once_all_the_same(
    keys: SqliteKeys, path: Path
) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        for number in range(MOST_CHANGES + 1):
            row = (f"n{number}", f'{{"key_id": "n{number}", "user": "bob"}}')
            connection.execute("INSERT INTO keys VALUES (?, ?, 1, NULL, NULL)", row)
            digest = (number.to_bytes(32, "big"), f"n{number}")
            connection.execute("INSERT INTO hashes VALUES (?, ?, '', 1, NULL)", digest)
        connection.execute("UPDATE keys SET revoked_at = 1 WHERE id = 'a'")
        connection.commit()
    assert keys.find(KEY) is None


@pytest.mark.parametrize(
    "table",
    ["keys", "hashes"],
)
def test_a_row_that_is_deleted_is_no_key_any_more(table: str, keys: SqliteKeys, path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute(f"DELETE FROM {table}")
        connection.commit()
    assert keys.find(KEY) is None


def test_it_can_be_said_why_a_key_is_none(keys: SqliteKeys, clock: FakeClock) -> None:
    keys.create(BOB, OTHER, expires_at=clock.time() + 1)
    assert keys.find(OTHER) == BOB
    keys.revoke(ALICE.key_id)
    clock.move(LATER_S)
    assert [keys.find(key) for key in (KEY, OTHER, "sg-")] == [None, None, None]
    assert [keys.why_not(key) for key in (KEY, OTHER, "sg-")] == ["revoked", "expired", "unknown"]
