"""The scalars that a YAML setting may be, beside plain str, int, float, bool and Literal.

A kind's settings are one frozen ``msgspec.Struct``; its field types are the schema. The policy
reader walks those types, so a platform's file alone says which keys it takes, and an editor's
JSON Schema is made from the same types.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from typing import Annotated, Any, Protocol, runtime_checkable

import msgspec

_DURATION = re.compile(r"(?P<number>\d{1,15}(?:\.\d{1,9})?)\s*(?P<unit>ms|s|m|h|d)?\Z")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, None: 1.0}
_SIZE = re.compile(r"(?P<number>\d{1,15}(?:\.\d{1,9})?)\s*(?P<unit>B|KB|KiB|MB|MiB|GB|GiB)?\Z")
_BYTES = {
    None: 1,
    "B": 1,
    "KB": 1000,
    "KiB": 1024,
    "MB": 1000**2,
    "MiB": 1024**2,
    "GB": 1000**3,
    "GiB": 1024**3,
}


class Scalar(msgspec.Struct, frozen=True, kw_only=True):
    """How one YAML scalar becomes a value: ``parse`` raises ValueError saying what is wrong.

    ``expects`` ends the sentence "expected ..."; ``pattern`` is the editor's regular expression.
    """

    parse: Callable[[Any], Any]
    expects: str
    pattern: str
    secret: bool = False
    """The whole text comes from the environment."""
    hidden: str = ""
    """A regular expression, for a URL: its group ``hidden``, a password, comes from there."""


class SettingError(ValueError):
    """Raised by the ``__post_init__`` of settings for what is wrong at one of their keys, such as
    ``("models", "a", "memory")``; any other ValueError is said of the settings as a whole."""

    def __init__(self, keys: tuple[str, ...], message: str) -> None:
        super().__init__(message)
        self.keys = keys


@runtime_checkable
class HasExclusiveKeys(Protocol):
    """Settings of which some are not said together."""

    @classmethod
    def misfits(cls, given: Collection[str]) -> Sequence[SettingError]:
        """What is wrong with the keys that a policy gives, whatever their values."""
        ...


class Secret:
    """A string that never shows in a repr, a log line or an error. ``reveal()`` gives it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)


_CENTURY_S = 100 * 365.25 * 86_400.0


def parse_duration(value: Any) -> float:
    """'250ms', '5s', '15m', '4h', '2d' or a bare number of seconds -> seconds."""
    if isinstance(value, bool):
        raise ValueError("a boolean is not a duration")
    match = _DURATION.match(str(value).strip())
    if match is None:
        raise ValueError(f"{value!r} is not a duration")
    seconds = float(match["number"]) * _SECONDS[match["unit"]]
    if seconds > _CENTURY_S:  # past it a date may have no year, and a number no integer
        raise ValueError(f"{value!r} is longer than a century")
    return seconds


def parse_size(value: Any) -> int:
    """'10 MB', '64KiB' or a bare number of bytes -> bytes."""
    if isinstance(value, bool):
        raise ValueError("a boolean is not a size")
    match = _SIZE.match(str(value).strip())
    if match is None:
        raise ValueError(f"{value!r} is not a size")
    return int(float(match["number"]) * _BYTES[match["unit"]])


def parse_secret(value: Any) -> Secret:
    if not isinstance(value, str) or not value:
        raise ValueError("a secret is a string that is not empty")
    return Secret(value)


Duration = Annotated[
    float,
    Scalar(
        parse=parse_duration,
        expects="a duration such as 250ms, 5s, 15m, 4h or 2d",
        pattern=r"^\d+(\.\d+)?\s*(ms|s|m|h|d)?$",
    ),
]
"""Seconds."""

ByteSize = Annotated[
    int,
    Scalar(
        parse=parse_size,
        expects="a size such as 512KiB or 10 MB",
        pattern=r"^\d+(\.\d+)?\s*(B|KB|KiB|MB|MiB|GB|GiB)?$",
    ),
]
"""Bytes."""

SecretStr = Annotated[
    Secret,
    Scalar(
        parse=parse_secret,
        expects="a secret taken from the environment, such as ${RUNPOD_API_KEY}",
        pattern=r"^\$\{[A-Za-z_][A-Za-z0-9_]*\}$",
        secret=True,
    ),
]
"""A ``Secret``; in YAML it may only be written as ``${NAME}``."""


class ConnectionSettings(Protocol):
    """The settings that say how connections are made and kept; see ``HttpSettings``."""

    @property
    def max_connections(self) -> int: ...
    @property
    def connect_timeout(self) -> float: ...
    @property
    def keep_alive(self) -> float: ...
    @property
    def stall_timeout(self) -> float: ...
    @property
    def max_response(self) -> int: ...
    @property
    def ca_file(self) -> str | None: ...


class HttpSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every backend behind one HTTP address may be told of its connections."""

    base_url: str
    """Where the server is."""
    headers: dict[str, str] = {}
    """Sent with every call."""
    connect_timeout: Duration = 5.0
    """The longest that a connection may take to be made."""
    timeout: Duration = 600.0
    """The longest that one call may take, whatever the caller would wait."""
    stall_timeout: Duration = 120.0
    """The longest silence inside a stream that has begun."""
    keep_alive: Duration = 4.0
    """How long an unused connection is kept; shorter than the server's own time (uvicorn: 5s)."""
    max_connections: int = 256
    """Calls in flight."""
    max_response: ByteSize = 64 * 1024 * 1024
    """A larger answer is an error."""
    ca_file: str | None = None
    """PEM file of the authority that signed the server's certificate; left out: the system's."""
