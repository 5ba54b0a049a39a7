"""An API key's text and its hash, which alone is kept.

A key is 40 random letters and digits (238 bits), so one SHA-256 is the right hash: it cannot be
guessed at any speed, and a slow hash would only be paid for by every call. The lookup is by digest:
what its time could tell is about the digest, from which no key can be made.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import string
from collections.abc import Callable

_ALPHABET = string.ascii_letters + string.digits
_LETTERS = 40
_KEY = re.compile(r"(sgt?-)[A-Za-z0-9]{20,}")


def generate_key(choose: Callable[[str], str] = secrets.choice) -> str:
    """``sg-`` and 40 letters and digits; ``choose`` picks one character of a string."""
    return "sg-" + "".join(choose(_ALPHABET) for _ in range(_LETTERS))


def generate_token(choose: Callable[[str], str] = secrets.choice) -> str:
    """A client token's text: ``sgt-``, and as many as a key has."""
    return "sgt-" + "".join(choose(_ALPHABET) for _ in range(_LETTERS))


def digest_of(key: str) -> bytes:
    """SHA-256 of the key's text, 32 bytes."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


def without_keys(text: str) -> str:
    """What somebody sent, in which a whole key that he put in the wrong place is ``sg-***``, and a
    token ``sgt-***``: for messages and logs."""
    return _KEY.sub(r"\1***", text)
