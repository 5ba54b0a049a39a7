"""Kept streams in a database of whatever kind: statements out, rows in."""

from __future__ import annotations

import base64

from gateway.storage.sql_outbox import SqlTables
from gateway.storage.streams import statements
from gateway.storage.streams.base import (
    KeptPart,
    NamedRequest,
    NewStream,
    StreamsFull,
    StreamState,
)


class SqlStreams(SqlTables):
    """A ``StreamStore`` over a connection to the ledger's database."""

    async def claim(self, new: NewStream) -> NamedRequest:
        found = (await self._connection.run(statements.claim(new)))[-1]
        if not found:
            raise StreamsFull
        id, digest, is_stream = found[0]
        return NamedRequest(id, digest, bool(is_stream))

    async def keep(self, id: str, at: int, data: bytes, head: str, lease_s: float) -> bool:
        size, text = at + len(data), base64.b64encode(data).decode()
        batch = statements.keep(id, at, text, size, head, lease_s, "running")
        return bool((await self._connection.run(batch))[-1])

    async def end(self, id: str, at: int, data: bytes, head: str, state: StreamState) -> bool:
        is_large = state == "large"
        size, text = at + len(data), base64.b64encode(data).decode()
        if is_large:
            size, text = 0, ""
        batch = statements.keep(id, at, text, size, head, 0.0, state)
        dropped = [statements.drop_pieces(id)] if is_large else []
        return bool((await self._connection.run([*dropped, *batch]))[-1])

    async def forget(self, id: str) -> None:
        await self._connection.run(statements.forget(id))

    async def read(self, id: str, at: int) -> KeptPart | None:
        found, pieces = await self._connection.run(statements.read(id, at))
        if not found:
            return None
        state, head = found[0]
        return KeptPart(state, head, b"".join(base64.b64decode(data) for [data] in pieces))

    async def prune(self, most: int) -> int:
        return len((await self._connection.run(statements.prune(most)))[-1])
