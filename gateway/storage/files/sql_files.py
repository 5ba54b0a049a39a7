"""Files in a database of whatever kind: statements out, rows in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway.storage.files import statements
from gateway.storage.files.base import FilesQuery, StoredFile
from gateway.storage.sql_outbox import Rows, SqlTables
from gateway.types import MICRO


class SqlFiles(SqlTables):
    """``FileRecords`` over a connection to the ledger's database."""

    async def begin(self, file: StoredFile, most: int, within_s: float) -> bool:
        """Asked again once it is written: of several gateways each has seen the others then."""
        batch = statements.begin(file, most, within_s)
        await self._connection.run(batch[:-1])
        if await self._one(batch[-1]):
            return True
        await self.give_up(file.id)
        return False

    async def keep(self, file: StoredFile, most: int) -> bool:
        return await self._done(statements.keep(file, most))

    async def give_up(self, id: str) -> None:
        await self._one(statements.give_up(id))

    async def stay(self, id: str, until: float) -> bool:
        return await self._done(statements.stay(id, until))

    async def get(self, id: str) -> StoredFile | None:
        return _first(await self._one(statements.get(id)))

    async def find(self, query: FilesQuery) -> list[StoredFile]:
        return [_file(row) for row in await self._one(statements.find(query))]

    async def drop(self, id: str) -> bool:
        return bool((await self._connection.run(statements.drop(id)))[-1])

    async def over(self, most: int) -> list[str]:
        return [id for (id,) in await self._one(statements.over(most))]

    async def forget(self, ids: Sequence[str]) -> None:
        if ids:
            await self._connection.run(statements.forget(ids))

    async def put_off(self, ids: Sequence[str], by_s: float) -> None:
        if ids:
            await self._one(statements.put_off(ids, by_s))

    async def link(self, token: str, id: str, good_for_s: float) -> None:
        await self._one(statements.link(token, id, good_for_s))

    async def linked(self, token: str) -> StoredFile | None:
        return _first(await self._one(statements.linked(token)))


def _first(rows: Rows) -> StoredFile | None:
    return _file(rows[0]) if rows else None


def _file(row: Sequence[Any]) -> StoredFile:
    found = dict(zip(statements.COLUMNS, row, strict=True))
    return StoredFile(
        id=found["id"],
        user=found["caller"],
        key_id=found["key_id"],
        name=found["name"],
        purpose=found["purpose"],
        content_type=found["content_type"],
        size=found["size"],
        created_at=found["created_at"] / MICRO,
        expires_at=found["expires_at"] / MICRO,
    )
