"""What capacity costs that is paid for by the hour: its bill, and who is charged for the part of it
that no call used. Pure integer arithmetic, in nano-dollars.

Whatever the calls of an hour were charged, they and the hour's idle entries make its bill exactly:
idle is the difference.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction

from gateway.policy.sections.commitments import Commitment

HOUR_S = 3600
IDLE = "system:idle"
"""The user who is charged for what nobody used."""


def bill(commitments: Iterable[Commitment], since: int, until: int) -> int:
    """What they cost together from one instant to another, in seconds since the epoch. Bills of
    times that follow each other add up to that of the whole."""
    return sum(_cost_up_to(one, until) - _cost_up_to(one, since) for one in commitments)


def _cost_up_to(commitment: Commitment, instant: int) -> int:
    end = instant if commitment.end is None else min(instant, commitment.end)
    return commitment.hourly_nano * max(0, end - commitment.start) // HOUR_S


def hours_of(commitments: Iterable[Commitment], since: int, until: int) -> Iterator[int]:
    """The beginnings of all whole hours, in seconds since the epoch, that ended by ``until`` and
    in which something was paid for."""
    hour = since // HOUR_S * HOUR_S
    ours = tuple(commitments)
    while hour + HOUR_S <= until:
        if any(_covers(one, hour) for one in ours):
            yield hour
        hour += HOUR_S


def _covers(commitment: Commitment, hour: int) -> bool:
    return commitment.start < hour + HOUR_S and (commitment.end is None or commitment.end > hour)


def idle_by_user(
    commitment: Commitment, idle_nano: int, charged: Mapping[str, int]
) -> dict[str, int]:
    """User -> nano-dollars, which add up to ``idle_nano``. ``charged``: what each user's calls were
    charged in the hour. Where nobody's were, and where more was charged than the bill is, it is
    overhead."""
    if commitment.idle == "by_reservation":
        return split(idle_nano, {user: Fraction(n) for user, n in commitment.shares.items()})
    used = {user: Fraction(nano) for user, nano in charged.items() if nano > 0}
    if commitment.idle == "by_use" and used and idle_nano > 0:
        return split(idle_nano, used)
    return {IDLE: idle_nano}


def split(nano: int, weights: Mapping[str, Fraction]) -> dict[str, int]:
    """Parts by weight, which add up exactly: what is left after rounding down goes to those who
    lost most by it, then by name. Source: the largest remainder method (Hamilton's)."""
    whole = sum(weights.values())
    exact = {user: nano * weight / whole for user, weight in weights.items()}
    parts = {user: share.numerator // share.denominator for user, share in exact.items()}
    left = nano - sum(parts.values())
    for user in sorted(exact, key=lambda user: (parts[user] - exact[user], user))[:left]:
        parts[user] += 1
    return parts
