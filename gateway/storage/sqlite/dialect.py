"""SQL as SQLite writes it."""

from __future__ import annotations

from gateway.storage.reports import Dialect

SQLITE = Dialect(
    parameter=lambda number: "?",
    tag=lambda tags, mark: f"COALESCE(json_extract({tags}, {mark}), '')",
    tag_value=lambda name: f'$."{name}"',
    # The plus keeps SQLite from walking an index in the order of a group: it would visit every
    # row of the ledger at random, where the time asked for, or the table's own order, is cheaper.
    grouped="+",
)
