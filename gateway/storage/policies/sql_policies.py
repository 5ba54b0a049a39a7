"""Policies in a database of whatever kind: statements out, rows in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway.storage.outbox_statements import Statement
from gateway.storage.policies.base import NewChange, PolicyChange
from gateway.storage.sql_outbox import RunsStatements
from gateway.types import MICRO

_COLUMNS = "number, at, act, version, file, actor, address"
_KEEP = "INSERT INTO policies (version, document) VALUES (?, ?) ON CONFLICT (version) DO NOTHING"
_ADD = (
    f"INSERT INTO policy_changes ({_COLUMNS}) VALUES (?, {{now}}, ?, ?, ?, ?, ?) "  # noqa: S608
    f"ON CONFLICT (number) DO NOTHING RETURNING {_COLUMNS}"
)
_NEWEST = f"SELECT {_COLUMNS} FROM policy_changes ORDER BY number DESC LIMIT 1"  # noqa: S608
_NEWEST_OVER = (
    f"SELECT {_COLUMNS} FROM policy_changes WHERE file = ? "  # noqa: S608
    "ORDER BY number DESC LIMIT 1"
)
_CHANGES = (
    f"SELECT {_COLUMNS} FROM policy_changes WHERE number < ? "  # noqa: S608
    "ORDER BY number DESC LIMIT ?"
)
_DOCUMENT = (
    "SELECT document FROM policies WHERE version = ? "
    "AND EXISTS (SELECT 1 FROM policy_changes WHERE policy_changes.version = policies.version)"
)
"""That of a change which came too late is there too."""
_ALL = 2**62


class SqlPolicies:
    """A ``PolicyStore`` over a connection to the ledger's database."""

    def __init__(self, connection: RunsStatements) -> None:
        self._connection = connection

    async def add(self, change: NewChange, document: str, after: int) -> PolicyChange | None:
        fields = (change.act, change.version, change.file, change.actor, change.address)
        keep, add = (_KEEP, (change.version, document)), (_ADD, (after + 1, *fields))
        _, added = await self._connection.run([keep, add])
        return _change(added[0]) if added else None

    async def newest(self, file: str | None = None) -> PolicyChange | None:
        found = await self._found((_NEWEST, ()) if file is None else (_NEWEST_OVER, (file,)))
        return found[0] if found else None

    async def changes(self, before: int | None, most: int) -> list[PolicyChange]:
        return await self._found((_CHANGES, (_ALL if before is None else before, most)))

    async def document(self, version: str) -> str | None:
        [rows] = await self._connection.run([(_DOCUMENT, (version,))])
        return rows[0][0] if rows else None

    async def _found(self, statement: Statement) -> list[PolicyChange]:
        [rows] = await self._connection.run([statement])
        return [_change(row) for row in rows]


def _change(row: Sequence[Any]) -> PolicyChange:
    number, at_us, act, version, file, actor, address = row
    what = NewChange(act=act, version=version, file=file, actor=actor, address=address)
    return PolicyChange(number, at_us / MICRO, what)
