"""The SQL of files, which stores of every kind share: values in, statements out. ``{now}`` is the
store's clock."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway.storage.files.base import FilesQuery, StoredFile
from gateway.storage.jobs.words import marks, us
from gateway.storage.outbox_statements import Statement

COLUMNS = (
    "id", "caller", "key_id", "name", "purpose", "content_type", "size", "created_at",
    "expires_at",
)  # fmt: skip
_COLUMNS = ", ".join(COLUMNS)
_OF_FILE = ", ".join(f"files.{name}" for name in COLUMNS)
_ROOM = (
    "(SELECT CAST(COALESCE(SUM(size), 0) AS BIGINT) FROM files WHERE caller = ? "
    "AND state <> 'gone' AND id <> ?) + CAST(? AS BIGINT) <= CAST(? AS BIGINT)"
)
_IS_THERE = "files.state = 'ready' AND files.expires_at > {now}"


def _room(file: StoredFile, most: int) -> tuple[Any, ...]:
    return file.user, file.id, file.size, most


def begin(file: StoredFile, most: int, within_s: float) -> list[Statement]:
    """The last gives a row where there is room."""
    number = "CAST(? AS BIGINT)"
    add = (
        f"INSERT INTO files (state, {_COLUMNS}) SELECT 'coming', CAST(? AS TEXT), "
        "CAST(? AS TEXT), CAST(? AS TEXT), CAST(? AS TEXT), CAST(? AS TEXT), CAST(? AS TEXT), "
        f"{number}, {number}, {{now}} + {number} WHERE {_ROOM}"
    )
    values = (
        *(file.id, file.user, file.key_id, file.name, file.purpose, file.content_type),
        *(file.size, us(file.created_at), us(within_s)),
    )
    there = f"SELECT id FROM files WHERE id = ? AND {_ROOM}"  # noqa: S608
    return [(add, (*values, *_room(file, most))), (there, (file.id, *_room(file, most)))]


def give_up(id: str) -> Statement:
    return "DELETE FROM files WHERE id = ? AND state = 'coming'", (id,)


def keep(file: StoredFile, most: int) -> Statement:
    sql = (
        "UPDATE files SET state = 'ready', name = ?, purpose = ?, content_type = ?, size = ?, "  # noqa: S608
        f"expires_at = ? WHERE id = ? AND state = 'coming' AND expires_at > {{now}} AND {_ROOM} "
        "RETURNING id"
    )
    values = (file.name, file.purpose, file.content_type, file.size, us(file.expires_at), file.id)
    return sql, (*values, *_room(file, most))


def stay(id: str, until: float) -> Statement:
    sql = (
        "UPDATE files SET expires_at = CASE WHEN expires_at < CAST(? AS BIGINT) "  # noqa: S608
        f"THEN CAST(? AS BIGINT) ELSE expires_at END WHERE id = ? AND {_IS_THERE} RETURNING id"
    )
    return sql, (us(until), us(until), id)


def get(id: str) -> Statement:
    return f"SELECT {_COLUMNS} FROM files WHERE id = ? AND {_IS_THERE}", (id,)  # noqa: S608


def find(query: FilesQuery) -> Statement:
    where, values = [_IS_THERE], list[Any]()
    for column, value in (("caller", query.user), ("purpose", query.purpose)):
        if value is not None:
            where.append(f"{column} = ?")
            values.append(value)
    beyond, order = (">", "") if query.oldest_first else ("<", " DESC")
    if query.after is not None:
        where.append(f"number {beyond} (SELECT number FROM files WHERE id = ?)")  # noqa: S608
        values.append(query.after)
    which = " AND ".join(where)
    sql = f"SELECT {_COLUMNS} FROM files WHERE {which} ORDER BY number{order} LIMIT ?"  # noqa: S608
    return sql, (*values, query.most)


def drop(id: str) -> list[Statement]:
    """The last gives a row where there was one."""
    gone = f"UPDATE files SET state = 'gone', expires_at = 0 WHERE id = ? AND {_IS_THERE}"  # noqa: S608
    return [
        ("DELETE FROM file_links WHERE file = ?", (id,)),
        (f"{gone} RETURNING id", (id,)),
    ]


def over(most: int) -> Statement:
    sql = "SELECT id FROM files WHERE expires_at <= {now} ORDER BY expires_at, id LIMIT ?"
    return sql, (most,)


def put_off(ids: Sequence[str], by_s: float) -> Statement:
    sql = (
        "UPDATE files SET state = 'gone', expires_at = {now} + CAST(? AS BIGINT) "  # noqa: S608
        f"WHERE id IN ({marks(ids)}) AND expires_at <= {{now}}"
    )
    return sql, (us(by_s), *ids)


def forget(ids: Sequence[str]) -> list[Statement]:
    which = marks(ids)
    return [
        (f"DELETE FROM file_links WHERE file IN ({which})", tuple(ids)),  # noqa: S608
        ("DELETE FROM file_links WHERE expires_at <= {now}", ()),
        (f"DELETE FROM files WHERE id IN ({which}) AND expires_at <= {{now}}", tuple(ids)),  # noqa: S608
    ]


def link(token: str, id: str, good_for_s: float) -> Statement:
    sql = (
        "INSERT INTO file_links (token, file, expires_at) VALUES "
        "(?, ?, {now} + ?) ON CONFLICT DO NOTHING"
    )
    return sql, (token, id, us(good_for_s))


def linked(token: str) -> Statement:
    sql = (
        f"SELECT {_OF_FILE} FROM file_links JOIN files ON files.id = file_links.file "  # noqa: S608
        f"WHERE file_links.token = ? AND file_links.expires_at > {{now}} AND {_IS_THERE}"
    )
    return sql, (token,)
