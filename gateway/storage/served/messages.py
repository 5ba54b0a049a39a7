"""What a process asks of the store that another one keeps, and what it is told: one msgpack array
each. Answers come in the order of the questions that have one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from gateway.storage.base import Admitted, Claim, Counted, LimitStatus, Refused
from gateway.types import Unit


class StoreMessage(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The base of all of them; ``gc=False`` because none can be part of a cycle."""


# --- questions -----------------------------------------------------------------------------------


class Admit(StoreMessage, tag=1, frozen=True):
    """``SharedStore.admit``."""

    hold_id: str
    claims: tuple[Claim, ...]
    ttl_s: float


class Extend(StoreMessage, tag=2, frozen=True):
    """``SharedStore.extend``."""

    hold_id: str
    unit: Unit
    more: int


class Reinstate(StoreMessage, tag=3, frozen=True):
    """``SharedStore.reinstate``."""

    hold_id: str
    claims: tuple[Claim, ...]
    ttl_s: float


class Settle(StoreMessage, tag=4, frozen=True):
    """``SharedStore.settle``."""

    hold_id: str
    claims: tuple[Claim, ...]
    actual: dict[Unit, int]


class Release(StoreMessage, tag=5, frozen=True):
    """``SharedStore.release``. Is not answered."""

    hold_id: str


class Restore(StoreMessage, tag=6, frozen=True):
    """``SharedStore.restore``."""

    spent: tuple[Counted, ...]


class Statuses(StoreMessage, tag=7, frozen=True):
    """``SharedStore.statuses``; of no claims: ``SharedStore.ping``."""

    claims: tuple[Claim, ...]


class WindowsAsked(StoreMessage, tag=11, frozen=True):
    """``SharedStore.spent``."""

    claims: tuple[Claim, ...]


class Learn(StoreMessage, tag=12, frozen=True):
    """What every call of one caller claims, but for the amounts that are held; from now on known
    by ``number``. Is not answered."""

    number: int
    claims: tuple[Claim, ...]
    shown: tuple[str, ...]
    """The scopes whose rates are told."""


class Forget(StoreMessage, tag=13, frozen=True):
    """All that was learned of this process's callers. Is not answered."""


class AdmitAs(StoreMessage, tag=14, frozen=True):
    """``Admit`` for a caller that is known."""

    hold_id: str
    caller: int
    nano_usd: int
    gpu_us: int
    ttl_s: float
    rest: Mapping[Unit, int]
    """What is held in other units."""
    surplus: int
    """Nano-dollars of it that will probably come back."""


class SettleAs(StoreMessage, tag=15, frozen=True):
    """``Settle`` for a caller that is known; ``nano_usd`` and ``gpu_us`` are what was held. Is not
    answered, but by ``PastCap`` where there is something to say."""

    hold_id: str
    caller: int
    nano_usd: int
    gpu_us: int
    actual: dict[Unit, int]


class Tidied(StoreMessage, tag=8, frozen=True):
    """What the ledger knew of calls of these processes, which are gone, is settled: what they
    hold all the same was nobody's to pay. Is not answered."""

    processes: tuple[int, ...]


Question = (
    Admit
    | Extend
    | Reinstate
    | Settle
    | Release
    | Restore
    | Statuses
    | WindowsAsked
    | Learn
    | Forget
    | AdmitAs
    | SettleAs
    | Tidied
)

# --- answers -------------------------------------------------------------------------------------

Standing = tuple[int, int, float, int, int]
"""(which of the claims that were asked, remaining, seconds until it is reset, what is held, and
what of that will probably come back)."""


class Taken(StoreMessage, tag=32, frozen=True):
    """Admitted; or how counters stand."""

    standings: tuple[Standing, ...]


class SpentInWindows(StoreMessage, tag=36, frozen=True):
    """(which of the claims that were asked, spent in its window, when that ends)."""

    windows: tuple[tuple[int, int, int], ...]


class NotTaken(StoreMessage, tag=33, frozen=True):
    """Refused."""

    standing: Standing
    retry_after_s: float


class Number(StoreMessage, tag=34, frozen=True):
    """What ``settle`` and ``extend`` give; 0 where there is nothing to say."""

    value: int


class StoreFault(StoreMessage, tag=35, frozen=True):
    """What the store has raised."""

    kind: Literal["value", "unavailable"]
    text: str


class PastCap(StoreMessage, tag=37, frozen=True):
    """So much of what was settled lies past a limit of money. Said out of the order of answers."""

    hold_id: str
    nano_usd: int


Answer = Taken | NotTaken | Number | SpentInWindows | StoreFault | PastCap


def told(result: Admitted | Refused, claims: Sequence[Claim]) -> Answer:
    """An admission in the words of the wire."""
    if isinstance(result, Admitted):
        return Taken(standings(result.statuses, claims))
    (standing,) = standings((result.status,), claims)
    return NotTaken(standing, result.retry_after_s)


def standings(statuses: Sequence[LimitStatus], claims: Sequence[Claim]) -> tuple[Standing, ...]:
    """Each status by the place of its claim."""
    return tuple(
        [
            (claims.index(one.claim), one.remaining, one.reset_s, one.held, one.surplus)
            for one in statuses
        ]
    )


def status_of(standing: Standing, claims: Sequence[Claim]) -> LimitStatus:
    """The same the other way."""
    index, remaining, reset_s, held, surplus = standing
    return LimitStatus(claims[index], remaining, reset_s, held, surplus)
