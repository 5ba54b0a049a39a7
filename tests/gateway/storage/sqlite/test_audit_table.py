"""The database itself keeps what is in the audit log."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import pytest

from gateway.storage.audit import Act, AuditQuery
from gateway.storage.sqlite.keys import SqliteKeys


@pytest.mark.parametrize("change", ["UPDATE audit SET actor = 'x'", "DELETE FROM audit"])
def test_an_entry_can_neither_be_changed_nor_removed(change: str, tmp_path: Path) -> None:
    act = Act(at=1.0, actor="os:root", act="key.create")
    with contextlib.closing(SqliteKeys(tmp_path / "keys.db")) as keys:
        keys.record(act)
        connection = sqlite3.connect(tmp_path / "keys.db")
        with pytest.raises(sqlite3.IntegrityError, match="only added to"):
            connection.execute(change)
        connection.close()
        assert [entry.act for entry in keys.audit(AuditQuery())] == [act]
