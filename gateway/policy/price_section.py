"""The section ``prices`` of a document -> dated prices, or what is wrong with their dates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adapters.settings import SettingError
from gateway.policy.findings import BAD, Findings
from gateway.policy.price import DatedPrices, Price
from gateway.policy.problems import join, place_of


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
