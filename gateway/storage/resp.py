"""The part of the Redis protocol that the shared store needs: commands out, plain replies in.

Source: the RESP2 specification, redis.io/docs/latest/develop/reference/protocol-spec. A script
answers with one integer or one string, so arrays are not read.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec


class ReplyError:
    """The server refused a command; ``text`` begins with the error's code."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return f"ReplyError({self.text!r})"


Reply = bytes | int | None | ReplyError


class BadReply(Exception):
    """What came in is not the protocol: nothing more can be read from this connection."""


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """Where a server is and how to enter; the password shows in no repr."""

    scheme: Literal["redis", "rediss", "unix"]
    host: str = "127.0.0.1"
    port: int = 6379
    path: str = ""
    username: str = ""
    password: str = ""
    database: int = 0

    def __repr__(self) -> str:
        where = self.path if self.scheme == "unix" else f"{self.host}:{self.port}"
        return f"{self.scheme}://{where}/{self.database}"

    def greeting(self) -> list[bytes]:
        """The commands that open a connection; the last one proves that the server serves."""
        commands: list[Sequence[bytes]] = []
        if self.password:
            who = [self.username.encode()] if self.username else []
            commands.append([b"AUTH", *who, self.password.encode()])
        if self.database:
            commands.append([b"SELECT", b"%d" % self.database])
        return [pack(command) for command in [*commands, [b"PING"]]]


def parse_address(url: str) -> Address:
    """``redis://[user:password@]host[:port][/db]``, ``rediss://`` (TLS) or ``unix:///path?db=1``.

    Raises ValueError without repeating the URL, which may hold a password.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("redis", "rediss", "unix"):
        raise ValueError("a shared store's URL begins with redis://, rediss:// or unix://")
    local = parts.scheme == "unix"
    database = parse_qs(parts.query).get("db", ["0"])[0] if local else parts.path.strip("/") or "0"
    if not re.fullmatch(r"\d{1,4}", database):
        raise ValueError("the database in a Redis URL is a number, as in redis://host:6379/0")
    return Address(
        scheme=parts.scheme,  # type: ignore[arg-type]  # checked above
        host=parts.hostname or "127.0.0.1",
        port=parts.port or 6379,
        path=unquote(parts.path) if local else "",
        username=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        database=int(database),
    )


def pack(parts: Sequence[bytes]) -> bytes:
    """One command."""
    return b"*%d\r\n" % len(parts) + b"".join([b"$%d\r\n%b\r\n" % (len(p), p) for p in parts])


class ReplyReader:
    """Bytes as they arrive -> whole replies; keeps the beginning of an unfinished one."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Reply]:
        """Raises BadReply."""
        data = self._rest + data if self._rest else data
        replies: list[Reply] = []
        position = 0
        while True:
            line_end = data.find(b"\r\n", position)
            if line_end < 0:
                break
            reply, after = _read(data, position, line_end)
            if after < 0:
                break
            replies.append(reply)
            position = after
        self._rest = data[position:]
        return replies


def _read(data: bytes, position: int, line_end: int) -> tuple[Reply, int]:
    """(the reply at ``position``, where the next one begins; -1: it is not whole yet)."""
    kind, line, after = data[position], data[position + 1 : line_end], line_end + 2
    if kind == 36:  # $ a string, or nothing
        length = _integer(line)
        if length < 0:
            return None, after
        end = after + length
        return (data[after:end], end + 2) if len(data) >= end + 2 else (None, -1)
    if kind == 58:  # : an integer
        return _integer(line), after
    if kind == 43:  # + a word
        return line, after
    if kind == 45:  # - an error
        return ReplyError(line.decode(errors="replace")), after
    raise BadReply(f"a reply begins with {bytes([kind])!r}")


def _integer(line: bytes) -> int:
    try:
        return int(line)
    except ValueError:
        raise BadReply(f"{line[:20]!r} is not an integer") from None
