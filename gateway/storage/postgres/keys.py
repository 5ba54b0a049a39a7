"""Keys in a PostgreSQL database, known by their hash alone.

``find`` answers from memory. A thread of its own listens for changes, and asks now and then whether
there was one of which it was not told; changes are made there too, so that whoever makes one need
run no event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from math import isinf
from typing import Any, TypeVar

import asyncpg
import msgspec

from gateway.api_keys import digest_of
from gateway.clock import Clock, SystemClock
from gateway.storage.audit import Act, AuditEntry, AuditQuery
from gateway.storage.base import StorageUnavailable
from gateway.storage.key_records import KeyRecord, record_of
from gateway.storage.key_store import WhyNot
from gateway.storage.postgres import audit_table, token_table
from gateway.storage.postgres.connections import FAILURES, LOST, Connection, connect, reason_of
from gateway.storage.postgres.known_keys import KeysInMemory
from gateway.storage.postgres.migrations import migrate
from gateway.store_urls import Database
from gateway.types import Principal

T = TypeVar("T")

_HINT = 7
_CONNECT_S = 5.0
"""The longest that the first connection may take, the schema included."""
_NOTE_USES = (
    "INSERT INTO key_uses SELECT * FROM unnest($1::text[], $2::float8[]) "
    "ON CONFLICT (key_id) DO UPDATE SET used_at = greatest(key_uses.used_at, excluded.used_at)"
)


class PostgresKeys:
    """A KeyStore in ``database``, which several gateways may share.

    ``poll_s``     a change elsewhere of which no word comes is seen after so many seconds.
    ``stale_s``    keys that could not be compared with the database for longer are believed no
                   more, for one may have been revoked: ``find`` raises StorageUnavailable.
    ``timeout_s``  the longest that a change may take; its caller waits for it.

    Raises StorageUnavailable when the database cannot be used.
    """

    def __init__(
        self,
        database: Database,
        *,
        clock: Clock | None = None,
        poll_s: float = 0.5,
        stale_s: float = 60.0,
        timeout_s: float = 1.0,
    ) -> None:
        self._database = database
        self._clock: Clock = clock or SystemClock()
        self._poll_s = poll_s
        self._stale_s = stale_s
        self._timeout_s = timeout_s
        self._known = KeysInMemory()
        self._asked_at = 0.0
        """When what is known was last compared, by the monotonic clock."""
        self._fault = ""
        self._connection: Connection | None = None
        self._using = asyncio.Lock()
        self._told = asyncio.Event()
        self._closed = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="keys", daemon=True)
        self._thread.start()
        self._following: asyncio.Task[None] | None = None
        try:
            self._wait_for(self._begin(), 2 * _CONNECT_S)
        except BaseException:
            self.close()
            raise

    # --- the hot path ---

    def find(self, key: str) -> Principal | None:
        """The principal of a key that is neither revoked nor expired, as was known ``poll_s`` ago
        at the latest. Raises StorageUnavailable for one that is not known while the database
        cannot be asked, and for any when that lasts."""
        return self.of_digest(digest_of(key))

    def of_digest(self, digest: bytes) -> Principal | None:
        """As ``find``, of a key by its hash."""
        known = self._known.by_digest.get(digest)
        if self._fault:
            if self._clock.monotonic() - self._asked_at > self._stale_s:
                raise StorageUnavailable(f"{self._fault}; for too long to believe what is known")
            if known is None:
                raise StorageUnavailable(self._fault)
        if known is None or known.expires_at <= self._clock.time():
            return None
        return known.principal

    def why_not(self, key: str) -> WhyNot:
        """Why ``find`` has just found nothing; costs one look-up."""
        known = self._known.by_digest.get(digest_of(key))
        if known is None:
            return "unknown"
        return "revoked" if known.revoked else "expired"

    def ends_at(self, key: str) -> float | None:
        """When a key that was found will end: it expires, or the grace of its rotation does; None:
        never."""
        known = self._known.by_digest.get(digest_of(key))
        return None if known is None or isinf(known.expires_at) else known.expires_at

    @property
    def failing(self) -> str:
        """Why the database could not be asked when it was last tried; empty while it answers."""
        return self._fault

    # --- changes ---

    def create(
        self,
        principal: Principal,
        key: str,
        *,
        expires_at: float | None = None,
        act: Act | None = None,
    ) -> KeyRecord:
        """Raises ValueError when the principal's ``id`` or the key itself is taken, and
        TooManyTokens."""
        now = self._clock.time()

        async def change(connection: Connection, revision: int) -> KeyRecord:
            try:
                await connection.execute(
                    "INSERT INTO keys VALUES ($1, $2, $3, $4, NULL, $5)",
                    principal.id, revision, _json(principal), now, expires_at,
                )  # fmt: skip
                await _add_hash(connection, principal.id, key, now)
                if principal.token is not None:
                    await token_table.add(connection, principal, expires_at or now, now)
            except asyncpg.UniqueViolationError:
                raise ValueError(f"there is a key {principal.id!r} already") from None
            return KeyRecord(
                principal=principal, created_at=now, expires_at=expires_at, hint=key[:_HINT]
            )

        return self._change(change, act)

    def revoke(self, key_id: str, *, act: Act | None = None) -> bool:
        """Ends the key and what it was rotated from: for the next ``find`` here, and within a
        second elsewhere."""
        now = self._clock.time()

        async def change(connection: Connection, revision: int) -> bool:
            sql = (
                "UPDATE keys SET revoked_at = $2, revision = $3 "
                "WHERE id = $1 AND revoked_at IS NULL RETURNING id"
            )
            return bool(await connection.fetch(sql, key_id, now, revision))

        return self._change(change, act)

    def rotate(
        self, key_id: str, key: str, *, grace_s: float = 0.0, act: Act | None = None
    ) -> KeyRecord:
        """Gives the principal a new key; the old one works for another ``grace_s`` seconds.

        The ``key_id`` stays, and with it limits, ledger and expiry. Raises ValueError for a key
        that is unknown, revoked or expired.
        """
        now = self._clock.time()

        async def change(connection: Connection, revision: int) -> KeyRecord:
            await _check_live(connection, key_id, now)
            await connection.execute(
                "UPDATE key_hashes SET expires_at = least(coalesce(expires_at, $2), $2) "
                "WHERE key_id = $1",
                key_id, now + grace_s,
            )  # fmt: skip
            try:
                await _add_hash(connection, key_id, key, now)
            except asyncpg.UniqueViolationError:
                raise ValueError("the new key is in use already") from None
            await connection.execute(
                "UPDATE keys SET revision = $2 WHERE id = $1", key_id, revision
            )
            [record] = await _records(connection, "WHERE keys.id = $1", key_id)
            return record

        return self._change(change, act)

    def record(self, act: Act) -> None:
        """Adds an entry to the audit log."""

        async def write(connection: Connection) -> None:
            async with connection.transaction():
                await audit_table.add(connection, act)

        self._wait_for(self._use(write), self._timeout_s)

    def audit(self, query: AuditQuery) -> list[AuditEntry]:
        """Of the audit log, newest first."""

        async def read(connection: Connection) -> list[AuditEntry]:
            return await audit_table.read(connection, query)

        return self._wait_for(self._use(read), self._timeout_s)

    def note_uses(self, uses: Mapping[str, float]) -> None:
        """Key id -> when it was used last. No key changes by it."""
        # In one order everywhere, so that two gateways cannot wait for each other's rows.
        rows = sorted(uses.items())

        async def write(connection: Connection) -> None:
            await connection.execute(_NOTE_USES, [one for one, _ in rows], [at for _, at in rows])

        self._wait_for(self._use(write), self._timeout_s)

    def list(self) -> list[KeyRecord]:
        """Every key there ever was, oldest first; the hint is that of its newest secret."""
        every = f"WHERE {token_table.NO_TOKENS}"
        return self._wait_for(self._use(lambda c: _records(c, every)), self._timeout_s)

    def tokens(self, key_id: str | None = None, id: str | None = None) -> Sequence[KeyRecord]:
        """Client tokens of a key, or of all, that have not expired."""
        now = self._clock.time()
        read = self._use(lambda c: token_table.live(c, key_id, now, id))
        return self._wait_for(read, self._timeout_s)

    def ending(self, until: float) -> Sequence[KeyRecord]:
        """Those in use that will end by an instant."""
        where = (
            "WHERE revoked_at IS NULL AND keys.expires_at > $1 AND keys.expires_at <= $2 "
            f"AND {token_table.NO_TOKENS}"
        )
        now = self._clock.time()
        return self._wait_for(self._use(lambda c: _records(c, where, now, until)), self._timeout_s)

    def _change(self, change: Callable[[Connection, int], Awaitable[T]], act: Act | None) -> T:
        now_at = self._clock.time()

        async def run(connection: Connection) -> T:
            async with connection.transaction():
                # The row is locked to the end: revisions are committed in their order.
                revision = await connection.fetchval(
                    "UPDATE key_changes SET revision = revision + 1 RETURNING revision"
                )
                result = await change(connection, revision)
                if act is not None and result:
                    await audit_table.add(connection, act)
                await connection.execute("SELECT pg_notify($1, '')", self._channel)
            await self._known.refresh(connection, now_at)
            return result

        return self._wait_for(self._use(run), self._timeout_s)

    # --- the rest ---

    def close(self) -> None:
        """May be called twice."""
        if self._closed:
            return
        self._closed = True
        with contextlib.suppress(TimeoutError, StorageUnavailable):
            self._wait_for(self._end(), self._timeout_s)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(self._timeout_s)
        if not self._thread.is_alive():
            self._loop.close()

    def _wait_for(self, work: Coroutine[Any, Any, T], within_s: float) -> T:
        """Of the thread, from any other. Raises StorageUnavailable past ``within_s``."""
        if not self._thread.is_alive():
            work.close()
            raise StorageUnavailable("the key store is closed")
        future = asyncio.run_coroutine_threadsafe(_within(work, within_s), self._loop)
        try:
            return future.result()
        except FAILURES as error:
            raise StorageUnavailable(f"keys: {reason_of(error, self._database)}") from error

    # --- on the thread ---

    @property
    def _channel(self) -> str:
        return f"{self._database.schema}_keys"

    async def _begin(self) -> None:
        async with self._connected():
            self._following = asyncio.create_task(self._follow())

    async def _end(self) -> None:
        if self._following is not None:
            self._following.cancel()
            await asyncio.wait((self._following,))
        self._leave()

    async def _follow(self) -> None:
        """Looks for changes when it is told of one, and now and then all the same."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._poll_s):
                    await self._told.wait()
            self._told.clear()
            try:
                async with asyncio.timeout(self._timeout_s):
                    await self._use(self._refresh)
            except (StorageUnavailable, *FAILURES) as error:
                self._fault = f"keys: {reason_of(error, self._database)}"

    async def _refresh(self, connection: Connection) -> None:
        now = self._clock.monotonic()
        await self._known.refresh(connection, self._clock.time())
        self._asked_at = now
        self._fault = ""

    async def _use(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        async with self._connected() as connection:
            return await work(connection)

    @contextlib.asynccontextmanager
    async def _connected(self) -> AsyncIterator[Connection]:
        """The connection, for one at a time; made anew where it was lost."""
        async with self._using:
            if self._connection is None or self._connection.is_closed():
                self._connection = await self._connect()
            try:
                yield self._connection
            except (asyncio.CancelledError, *LOST):
                self._leave()
                raise

    def _leave(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()

    async def _connect(self) -> Connection:
        connection = await connect(
            self._database, "keys", timeout_s=_CONNECT_S, statement_timeout_s=self._timeout_s
        )
        try:
            await migrate(connection, self._database.schema)
            await connection.add_listener(self._channel, self._hear)
            await self._refresh(connection)
        except BaseException:
            connection.terminate()
            raise
        return connection

    def _hear(self, *_: object) -> None:
        self._told.set()


async def _within(work: Coroutine[Any, Any, T], seconds: float) -> T:
    async with asyncio.timeout(seconds):
        return await work


async def _records(
    connection: Connection, where: str = "", *values: str | float
) -> list[KeyRecord]:
    sql = (
        "SELECT principal, keys.created_at, revoked_at, keys.expires_at, hint, used_at "  # noqa: S608
        "FROM keys JOIN key_hashes ON keys.id = key_hashes.key_id "
        "AND key_hashes.expires_at IS NULL LEFT JOIN key_uses ON keys.id = key_uses.key_id "
        f"{where} ORDER BY keys.created_at, keys.id"
    )
    return [record_of(*row) for row in await connection.fetch(sql, *values)]


async def _check_live(connection: Connection, key_id: str, now: float) -> None:
    sql = "SELECT revoked_at, expires_at FROM keys WHERE id = $1"
    found = await connection.fetchrow(sql, key_id)
    if found is None:
        raise ValueError(f"there is no key {key_id!r}")
    revoked_at, expires_at = found
    if revoked_at is not None or (expires_at is not None and expires_at <= now):
        raise ValueError(f"key {key_id!r} is revoked or expired; create a new one")


async def _add_hash(connection: Connection, key_id: str, key: str, now: float) -> None:
    await connection.execute(
        "INSERT INTO key_hashes VALUES ($1, $2, $3, $4, NULL)",
        digest_of(key), key_id, key[:_HINT], now,
    )  # fmt: skip


def _json(principal: Principal) -> str:
    return msgspec.json.encode(principal).decode()
