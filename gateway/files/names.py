"""What files and the links to them are called. Pure, but for chance."""

from __future__ import annotations

import hashlib
import secrets

FILE = "file_"
LINKED = "/v1/files/linked"
"""Where links lead, with their token as a parameter: it needs no key."""
_TOKEN_BYTES = 32


def new_id(now_at: float) -> str:
    """Ascends, as those of requests do."""
    return f"{FILE}{int(now_at * 1000):012x}{secrets.randbits(48):012x}"


def new_token() -> str:
    """Whoever has it may read one file."""
    return secrets.token_urlsafe(_TOKEN_BYTES)


def digest_of(token: str) -> str:
    """What is kept of a token: nobody who reads the store can use it."""
    return hashlib.sha256(token.encode()).hexdigest()
