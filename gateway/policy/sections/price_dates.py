"""The sections ``prices`` and ``commitments`` of a document: what follows what in time, or what is
wrong with their dates."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from adapters.settings import SettingError
from gateway.policy.sections.commitments import Commitment
from gateway.policy.sections.price import DatedPrices, Price
from gateway.policy.syntax.findings import BAD, Findings
from gateway.policy.syntax.problems import join, place_of


def dated(section: Any, reading: Findings) -> dict[str, DatedPrices]:
    """Name -> prices, of a section that was read; a problem of its dates is noted at its place."""
    entries: Mapping[str, tuple[Price, ...]] = {} if section is BAD else section
    found = {name: _dated(name, prices, reading) for name, prices in entries.items()}
    return {name: prices for name, prices in found.items() if prices is not None}


def _dated(name: str, prices: tuple[Price, ...], reading: Findings) -> DatedPrices | None:
    try:
        return DatedPrices.of(prices)
    except SettingError as error:
        index, key = error.keys
        path = f"{join('prices', name)}{index}.{key}"
        reading.note(place_of(path, reading.places), path, str(error))
        return None


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
