"""What the script's replies say."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from gateway.storage.base import Admitted, Claim, LimitStatus, Refused, StorageUnavailable
from gateway.storage.redis.resp import Reply
from gateway.types import MICRO

_NUMBERS = msgspec.msgpack.Decoder(list[int])


def number_of(reply: Reply) -> int:
    """0 for what is none."""
    if isinstance(reply, bytes):
        return int(reply) if reply.isdigit() else 0
    return reply if isinstance(reply, int) else 0


def numbers_of(reply: Reply) -> list[int]:
    """Raises StorageUnavailable for what is none."""
    if not isinstance(reply, bytes):
        raise StorageUnavailable(f"the shared store gave an answer of another kind: {reply!r}")
    return _NUMBERS.decode(reply)


def admitted_of(found: list[int], claims: Sequence[Claim]) -> Admitted:
    """What an admission found, of the claims that it asked for."""
    return Admitted(
        tuple(
            [
                LimitStatus(claims[found[at]], found[at + 1], found[at + 2] / MICRO)
                for at in range(2, len(found), 3)
            ]
        )
    )


def refused_of(found: list[int], claims: Sequence[Claim]) -> Refused:
    """The same where one of them had no room."""
    _, _, index, *status, retry = found
    return Refused(_status(claims[index], *status), retry / MICRO)


def statuses_of(found: list[int], claims: Sequence[Claim]) -> tuple[LimitStatus, ...]:
    """How each of the claims stands."""
    return tuple(
        _status(claim, *found[4 * index : 4 * index + 4]) for index, claim in enumerate(claims)
    )


def _status(claim: Claim, remaining: int, reset: int, held: int, surplus: int) -> LimitStatus:
    return LimitStatus(claim, remaining, reset / MICRO, held, surplus)
