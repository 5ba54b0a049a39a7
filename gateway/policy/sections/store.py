"""The sections ``store``, ``jobs`` and ``files``: where counters, rows, keys, jobs and files are,
for how long, and what holds without the first."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from adapters.settings import ByteSize, Duration, HttpUrl, PositiveDuration
from gateway.policy.syntax.scalars import FilesPlace, KeysUrl, LedgerUrl, SharedUrl
from gateway.store_urls import LedgerFile
from gateway.types import LostAnswer

SHORTEST_KEEP_S = 35 * 86_400.0
"""Limits of up to 31 days and months of any time zone are counted from rows at a start."""


class WhenLost(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What becomes of calls, by the scopes of their limits, while the shared store is lost. A call
    goes on where all of them let it."""

    key: LostAnswer | None = None
    """Limits of one key."""
    user: LostAnswer | None = None
    """Of one user."""
    plan: LostAnswer | None = None
    """Of all users of a plan together."""
    tag: LostAnswer | None = None
    """Of all calls with a tag of one value."""
    model: LostAnswer | None = None
    """Of all calls of a model."""
    backend: LostAnswer | None = None
    """Of all that a backend does."""
    warm_pool: LostAnswer | None = None
    """Of pings and spares."""
    gateway: LostAnswer | None = None
    """Of the whole gateway."""
    rest: LostAnswer = "closed"
    """Of what is not named here."""

    @property
    def named(self) -> dict[str, LostAnswer]:
        """Kind of scope, as counters are named -> its answer."""
        given = {name: getattr(self, name) for name in self.__struct_fields__ if name != "rest"}
        return {
            name.replace("_", "-"): answer for name, answer in given.items() if answer is not None
        }


class KeepSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long the ledger keeps rows; their sums by hour and day stay."""

    rows: Annotated[Duration, msgspec.Meta(ge=SHORTEST_KEEP_S)]
    """Whole days of UTC that are older leave the ledger."""
    archive: str | None = None
    """The folder for a file of each day; left out: rows are deleted."""
    format: Literal["csv", "parquet"] = "csv"
    """csv is compressed by gzip; parquet needs the extra ``archive``."""


class ResponseSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Answers of /v1/responses that callers may go on from by their ids."""

    keep: PositiveDuration = 86_400.0
    """For how long each is kept."""
    per_key: Annotated[ByteSize, msgspec.Meta(ge=1_000_000)] = 64 * 1024 * 1024
    """Of one key together; past it the oldest go."""
    largest: Annotated[ByteSize, msgspec.Meta(ge=10_000)] = 4 * 1024 * 1024
    """A longer conversation is not kept."""


class StoreSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The section ``store``; a change of it takes a restart."""

    ledger: LedgerUrl = LedgerFile(path=".spillgate/ledger.db")
    """sqlite:///PATH, with ?synchronous=full to keep every row through the machine's own death; or
    postgresql://USER:${NAME}@HOST:PORT/DATABASE, which several gateways may share."""
    keys: KeysUrl = None
    """Where keys are kept; left out: in a PostgreSQL ledger's database, else in server.data."""
    ledger_timeout: Annotated[Duration, msgspec.Meta(gt=0)] = 1.0
    """The longest a call waits for a ledger on PostgreSQL."""
    keep: KeepSettings | None = None
    """How long rows stay in the ledger, and where they go then; left out: for ever."""
    shared: SharedUrl = None
    """memory:// for one process; for several redis://HOST:PORT/DB, rediss:// with TLS or
    unix:///SOCKET?db=DB; redis+cluster://HOST,HOST or redis+sentinel://HOST,HOST/NAME for several
    servers; with a password redis://USER:${NAME}@HOST:PORT/DB."""
    responses: ResponseSettings | None = None
    """Answers of /v1/responses that callers may go on from, in the ledger's database; left out:
    none are kept."""
    files: FilesPlace = None
    """Where files lie, and results by reference: a folder, or an S3-compatible bucket as
    s3://KEY_ID:${SECRET}@BUCKET/PREFIX?endpoint=https://HOST&region=REGION; left out: the folder
    files in server.data."""
    timeout: Annotated[Duration, msgspec.Meta(gt=0)] | None = None
    """The longest a call waits for the shared store; left out: 250ms, and 20ms where calls go on
    without."""
    when_lost: LostAnswer | WhenLost = "closed"
    """What becomes of calls with limits while the shared store does not answer: closed, open or
    share, for all scopes or by scope."""

    @property
    def answers(self) -> WhenLost:
        """``when_lost`` by scope."""
        given = self.when_lost
        return given if isinstance(given, WhenLost) else WhenLost(rest=given)

    @property
    def timeout_s(self) -> float:
        """The longest a call waits for the shared store."""
        if self.timeout is not None:
            return self.timeout
        closed = {*self.answers.named.values(), self.answers.rest} == {"closed"}
        return 0.25 if closed or self.shared is None else 0.02


class FileSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The section ``files``: what callers store here, and what is too large to travel inside of a
    request or an answer."""

    max: Annotated[ByteSize, msgspec.Meta(ge=1000)] = 512 * 1024 * 1024
    """Bytes of one file."""
    per_user: Annotated[ByteSize, msgspec.Meta(ge=1000)] = 10 * 1024 * 1024 * 1024
    """Bytes of all files of one user."""
    keep: PositiveDuration = 30 * 86_400.0
    """How long a file stays that names no time itself."""
    inline: ByteSize = 1024 * 1024
    """Bytes up to which a file that an input names is put into it, and a job's result stands in
    its answer; what is larger goes by URL."""
    url: HttpUrl | None = None
    """Where backends reach this gateway, such as https://gpus.example.com: files that are too large
    to go into a request are read there. Left out: only such a file in a bucket goes by URL."""
    link: PositiveDuration = 3_600.0
    """How long a URL to a file is good for."""


class JobSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The section ``jobs``: work that nobody waits for on a connection, kept in the ledger's
    store."""

    deadline: PositiveDuration = 86_400.0
    """By when a job must have ended that names no deadline itself."""
    keep: PositiveDuration = 86_400.0
    """How long the result of a job stays after its end that names no time itself."""
    waiting: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 10_000
    """Jobs of one user, with whatever key, that may wait at once; one more is refused with 429."""
    streams: Annotated[ByteSize, msgspec.Meta(ge=1_000_000)] = 256 * 1024 * 1024
    """Kept of the streams of one user that have an Idempotency-Key; past it one more is refused
    with 429."""
