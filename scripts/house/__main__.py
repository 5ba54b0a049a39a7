"""The house in figures: folders, arrows, circles, sizes, names.

    python -m scripts.house                     this checkout, as a table
    python -m scripts.house ../before .         two checkouts, one table after the other
    python -m scripts.house --json | jq .       for machines
    python -m scripts.house --list              public names without a docstring, and circles

The code is parsed, never imported, so any checkout will do. How each figure is counted stands
below the table.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import msgspec

from scripts.house.figures import House, measure
from scripts.house.source import PACKAGES, read_house
from scripts.house.table import as_list, as_table

HERE = Path(__file__).parents[2]


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the figures. Exits with 2 where a folder is no checkout."""
    parser = _parser()
    options = parser.parse_args(arguments)
    houses: dict[str, House] = {}
    for root in options.checkout:
        modules = read_house(root)
        if not modules:
            parser.error(f"{root}: none of {', '.join(PACKAGES)} is here")
        houses[str(root)] = measure(modules)
    print(_as_json(houses) if options.json else _as_text(houses, listed=options.list))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m scripts.house", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("checkout", type=Path, nargs="*", default=[HERE], help="this one")
    parser.add_argument("--json", action="store_true", help="figures for machines")
    parser.add_argument("--list", action="store_true", help="also name what falls short")
    return parser


def _as_json(houses: dict[str, House]) -> str:
    return msgspec.json.format(msgspec.json.encode(houses), indent=2).decode()


def _as_text(houses: dict[str, House], *, listed: bool) -> str:
    pages = []
    for name, house in houses.items():
        page = as_table(house)
        if len(houses) > 1:
            page = f"{name}\n\n{page}"
        pages.append(f"{page}\n\n{as_list(house)}" if listed else page)
    return "\n\n".join(pages)


if __name__ == "__main__":
    raise SystemExit(main())
