"""What is wrong with the section ``commitments`` as a whole."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from gateway.policy.commitments import Commitment
from gateway.policy.findings import BAD, Findings
from gateway.policy.problems import join, place_of


def check_overlaps(commitments: Any, reading: Findings) -> None:
    """Notes each commitment whose time overlaps that of another one to the same backend: what is
    paid for twice is one commitment with a ``count``."""
    entries: Mapping[str, Commitment] = {} if commitments is BAD else commitments
    for (one, first), (name, second) in itertools.combinations(entries.items(), 2):
        if first.backend == second.backend and _overlap(first, second):
            path = f"{join('commitments', name)}.start"
            message = (
                f"overlaps {one}, a commitment to the same backend: end it before, or use count"
            )
            reading.note(place_of(path, reading.places), path, message)


def _overlap(one: Commitment, other: Commitment) -> bool:
    first, second = sorted((one, other), key=lambda commitment: commitment.start)
    return first.end is None or second.start < first.end
