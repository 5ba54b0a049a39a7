"""How long calls took, as counts in fixed buckets: counts of any hours and groups add up.

A bucket ends at 2 to the power of 1/4 times where it begins. So a percentile, told as the geometric
middle of its bucket, is wrong by a factor of 2 to the power of 1/8 at most, which is 9.1 %. Below
1.19 ms and above 29 minutes it is told as that bound.
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.types import MICRO

BOUNDS_US: tuple[int, ...] = tuple(round(1_000 * 2 ** (step / 4)) for step in range(1, 84))
"""Where each bucket but the last ends, in microseconds: the next one begins there."""
BUCKETS = len(BOUNDS_US) + 1
_HALF_STEP = 2 ** (1 / 8)


def bucket_sql() -> str:
    """The bucket of a row, by seven comparisons."""
    return _search("(ended_at - started_at)", 0, len(BOUNDS_US))


def _search(took: str, first: int, last: int) -> str:
    """That of what is known to lie in one of ``first`` to ``last``."""
    if first == last:
        return str(first)
    middle = (first + last) // 2
    below, above = _search(took, first, middle), _search(took, middle + 1, last)
    return f"CASE WHEN {took} < {BOUNDS_US[middle]} THEN {below} ELSE {above} END"


def bucket_of(took_us: int) -> int:
    """The bucket of one duration."""
    return sum(bound <= took_us for bound in BOUNDS_US)


def percentile_s(counts: Sequence[int], share: float) -> float | None:
    """The duration in seconds that ``share`` of the calls do not pass; None where there are
    none."""
    total = sum(counts)
    if not total:
        return None
    left = share * total
    for number, count in enumerate(counts):
        left -= count
        if left <= 0 and count:
            return _told_us(number) / MICRO
    return _told_us(len(counts) - 1) / MICRO


def _told_us(number: int) -> float:
    if number == 0:
        return BOUNDS_US[0]
    begins = BOUNDS_US[number - 1]
    return begins if number == len(BOUNDS_US) else begins * _HALF_STEP
