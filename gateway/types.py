"""The words of the gateway that every room shares. Imports nothing of the gateway.

Units: seconds are float; money is integer nano-dollars (1 USD = 10**9); device time in limits
and in the ledger is integer microseconds; sizes are bytes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

NANO = 1_000_000_000
"""Nano-dollars in a dollar."""
MICRO = 1_000_000
"""Microseconds in a second."""

Unit = Literal[
    "requests", "calls", "concurrent", "gpu_us", "nano_usd",
    "tokens", "input_tokens", "output_tokens",
]  # fmt: skip
LostAnswer = Literal["closed", "open", "share"]
"""What becomes of calls with limits while the shared store is lost: refused, not limited, or
limited to this gateway's part."""
Priority = Literal["high", "normal", "low"]
Role = Literal["user", "admin", "delegate"]
"""A delegate makes keys for its own team, and is a user otherwise."""


class Limit(msgspec.Struct, frozen=True):
    """One bound: ``amount`` of ``unit`` in each ``window``, which is written as ``gateway.windows``
    reads it.

    ``requests`` is a rate (GCRA: ``amount`` at once, then evenly) in a window of one word;
    ``concurrent`` has no window; all others are totals in a window of any kind, of which ``calls``
    are requests that are counted.
    """

    unit: Unit
    amount: int
    window: str = ""


class Permitted(msgspec.Struct, frozen=True):
    """What a key may be used for; of what is empty, everything."""

    models: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    """A ``*`` at the end stands for whatever follows."""
    addresses: tuple[str, ...] = ()
    """Networks, such as 10.0.0.0/8, of the connections that bring it."""


TOKEN_TAG = "client_token"  # noqa: S105 - a name
"""The tag that says by which token a call was made; nobody else may give it."""
BATCH_TAG = "batch"
"""The tag that says of which batch a call is a line; nobody else may give it."""
JOB_RECEIVERS = "jobs:"
"""What the names of those begin with in the outbox who are told of jobs; no endpoint of a policy
has such a name."""
OWN_TAGS = frozenset((TOKEN_TAG, BATCH_TAG))
"""What the gateway itself counts by: neither keys nor requests give them."""


def with_own(given: Mapping[str, str], own: Mapping[str, str]) -> dict[str, str]:
    """The tags of a call: those of its key, ``own``, stand above those that it was ``given``; the
    gateway's own above both, whatever an old key has."""
    tags = {**given, **own}
    for name in OWN_TAGS & given.keys():
        tags[name] = given[name]
    return tags


class TaggedLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of all calls that have a tag of this value, beside the policy's."""

    name: str
    value: str
    limits: tuple[Limit, ...]


class ClientToken(msgspec.Struct, frozen=True, kw_only=True):
    """What a client token is beside its key: what it may do, it does for that key."""

    id: str
    key_digest: str
    """SHA-256 in hexadecimal of the key that made it, and with which it ends."""
    limits: tuple[Limit, ...] = ()
    """Its own, beside those of the key."""
    origins: tuple[str, ...] = ()
    """Pages of browsers that may use it, such as https://app.example.com; empty: any."""


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """Who is calling. Made from a key; lives as long as the key is not changed."""

    key_id: str
    user: str
    plan: str = ""
    """The name of a plan in the policy, or empty."""
    role: Role = "user"
    tags: dict[str, str] = {}
    limits: tuple[Limit, ...] = ()
    """Limits of this key alone."""
    permitted: Permitted | None = None
    """None: it may be used for everything."""
    token: ClientToken | None = None
    """Of a client token; the rest is as its key has it, and ``permitted`` binds it to paths."""
    tagged: tuple[TaggedLimits, ...] = ()
    """Limits of what its calls are part of, such as a batch with a budget."""

    @property
    def id(self) -> str:
        """Of the token or the key: what it is stored, listed and revoked by."""
        return self.key_id if self.token is None else self.token.id


class ApiError(Exception):
    """What a caller is told when something is wrong; one shape everywhere.

    ``status`` HTTP status; ``type`` and ``code`` as OpenAI's error object has them; ``param`` the
    field at fault; ``headers`` such as Retry-After. The message names what was wrong and what
    to do, and holds no key, traceback or other tenant's data.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        type: str = "invalid_request_error",
        param: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.type = type
        self.param = param
        self.headers = headers or {}

    def body(self) -> dict[str, Any]:
        """The JSON object that the caller gets."""
        return {
            "error": {
                "message": self.message,
                "type": self.type,
                "code": self.code,
                "param": self.param,
            }
        }


_JSON_WORDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "a string",
    "bool": "true or false",
    "array": "an array",
    "object": "an object",
}
_PYTHON_TYPES = re.compile(rf"\b({'|'.join(_JSON_WORDS)})\b")


def in_json_words(text: str) -> str:
    """'Expected `int | null`, got `str`' -> 'Expected a whole number or null, got a string': what
    a decoder says, for those who write JSON."""

    def said(match: re.Match[str]) -> str:
        if match[1].startswith(("$", "_")):
            return match[1]
        return _PYTHON_TYPES.sub(lambda name: _JSON_WORDS[name[1]], match[1]).replace(" | ", " or ")

    return re.sub(r"`([^`]*)`", said, text)
