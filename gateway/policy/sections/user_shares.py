"""Which users are among so many percent: the same ones in every gateway and at any time. Pure."""

from __future__ import annotations

import hashlib


def share_of(user: str, purpose: bytes = b"spillgate") -> float:
    """A number from 0 to below 100: who is among ten percent is among twenty. Of another purpose
    (16 bytes at most) it is another number."""
    digest = hashlib.blake2b(user.encode(), digest_size=8, person=purpose).digest()
    return int.from_bytes(digest) / 2**64 * 100
