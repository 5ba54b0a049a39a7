"""The part of the Redis protocol that the shared store needs: commands out, plain replies in.

Source: the RESP2 specification, redis.io/docs/latest/develop/reference/protocol-spec. A script
answers with one integer or one string, so arrays are not read.
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.store_urls import Address


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


def pack(parts: Sequence[bytes]) -> bytes:
    """One command."""
    return b"*%d\r\n" % len(parts) + b"".join([b"$%d\r\n%b\r\n" % (len(p), p) for p in parts])


def greeting(address: Address) -> list[bytes]:
    """The commands that open a connection; the last one proves that the server serves."""
    commands: list[Sequence[bytes]] = []
    password = address.password.reveal()
    if password:
        who = [address.username.encode()] if address.username else []
        commands.append([b"AUTH", *who, password.encode()])
    if address.database:
        commands.append([b"SELECT", b"%d" % address.database])
    return [pack(command) for command in [*commands, [b"PING"]]]


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
