"""How clients of another protocol send their key, and how they are told what is wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from gateway.types import ApiError


class ToldError(NamedTuple):
    """An error as such a client reads it: its HTTP status, and the JSON of its body."""

    status: int
    body: object


class Door(NamedTuple):
    """What is different below one path, such as ``/runpod``."""

    key: Callable[[Mapping[bytes, bytes]], str]
    """Headers -> the key that they hold beside ``Authorization: Bearer``; empty where there is
    none."""
    told: Callable[[ApiError], ToldError]


def door_of(doors: Mapping[str, Door], path: str) -> Door | None:
    """``doors``: the first part of a path -> what is different below it."""
    return doors.get(path.split("/", 2)[1]) if path.startswith("/") else None


def bare_key(headers: Mapping[bytes, bytes]) -> str:
    """Of ``Authorization`` without a scheme, or with the scheme ``Token``."""
    scheme, _, key = headers.get(b"authorization", b"").strip().partition(b" ")
    if key:
        return key.strip().decode("latin-1") if scheme.lower() == b"token" else ""
    return scheme.decode("latin-1")
