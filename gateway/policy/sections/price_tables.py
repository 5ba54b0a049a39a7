"""The tables of prices that come with the gateway.

``list`` is what platforms ask, ``articles`` what articles on serverless GPUs say that they ask, so
that both can be compared. Each is a YAML file of this package whose only section is
``prices``; a backend takes one of its prices as TABLE/NAME, such as ``list/runpod/a100-80gb``.
Nothing here is a promise of a platform: each price has the day and the source of its reading.
"""

from __future__ import annotations

import functools
import importlib.resources
from collections.abc import Iterator

from gateway.policy.sections.price import DatedPrices, PriceList
from gateway.policy.sections.price_dates import dated
from gateway.policy.syntax.documents import read_text
from gateway.policy.syntax.findings import Findings
from gateway.policy.syntax.nodes import MapNode, ScalarNode
from gateway.policy.syntax.problems import PolicyError
from gateway.policy.syntax.scalars import Name
from gateway.policy.syntax.schema import read
from gateway.policy.syntax.shapes import shape_of

TABLES = ("list", "articles")


@functools.cache
def table(name: str) -> dict[str, DatedPrices]:
    """Name -> prices, oldest first. Raises KeyError for a table that there is not."""
    if name not in TABLES:
        raise KeyError(name)
    file = importlib.resources.files("gateway.policy") / "prices" / f"{name}.yaml"
    return read_table(file.read_text(encoding="utf-8"), file.name)


def read_table(text: str, name: str) -> dict[str, DatedPrices]:
    """The prices of a document that has nothing else. Each needs a date and a source. Raises
    PolicyError with every problem found."""
    document, problems = read_text(text, name)
    reading = Findings({}, {})
    reading.problems.extend(problems)
    for key, entry in document.entries.items():
        if key not in ("version", "prices"):
            reading.note(entry.mark, key, "unknown key", ("version", "prices"), key)
    section = document.entries.get("prices")
    found: dict[str, DatedPrices] = {}
    if section is not None:
        node, shape = section.value, shape_of(dict[Name, PriceList])
        found = dated(read(node, shape, "prices", reading), reading)
    for price, prices in found.items():
        _check_source(price, prices, reading)
    if reading.problems:
        raise PolicyError(reading.problems)
    return found


def _check_source(name: str, prices: DatedPrices, reading: Findings) -> None:
    for key in ("as_of", "source"):
        if not all(getattr(entry, key) for entry in prices.entries):
            path = f"prices.{name}"
            reading.note(reading.places[path], f"{path}.{key}", "is required in a table of prices")


def listed(document: MapNode) -> dict[str, DatedPrices]:
    """TABLE/NAME -> prices, of every table that a backend of the document takes a price from."""
    tables = {text.partition("/")[0] for text in _taken(document)}
    return {
        f"{one}/{name}": prices
        for one in TABLES
        if one in tables
        for name, prices in table(one).items()
    }


def _taken(document: MapNode) -> Iterator[str]:
    section = document.entries.get("backends")
    if section is None or not isinstance(section.value, MapNode):
        return
    for backend in section.value.entries.values():
        price = backend.value.entries.get("price") if isinstance(backend.value, MapNode) else None
        if price is not None and isinstance(price.value, ScalarNode):
            yield price.value.text
