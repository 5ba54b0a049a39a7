"""A row of the ledger as values for a table: what is settled in columns, what is open as one text.

Money is integer nano-dollars and time integer microseconds: nothing is a float, so a sum is exact
and two sums of the same rows are equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from gateway.storage.base import LedgerRow
from gateway.storage.claims import from_json, to_json
from gateway.storage.history import CallHistory
from gateway.types import MICRO

Encoded = Sequence[Any]
"""A row as ``encode_open`` or ``encode_settled`` gives it."""

_HELD = ("claims", "at_backend", "at_model")
"""Of open rows alone."""
COLUMNS = tuple(name for name in LedgerRow.__struct_fields__ if name not in _HELD)
"""Of a settled row, in the order of its values."""
INTEGERS = frozenset(
    {
        "started_at", "ended_at", "status", "stream", "input_tokens", "output_tokens", "queue_us",
        "cold_us", "exec_us", "gpu_us", "hold_nano", "cost_nano",
    }
)  # fmt: skip
"""Those of the columns that are numbers; all others are texts."""
_STARTED, _ENDED, _TAGS, _STREAM = (
    COLUMNS.index(name) for name in ("started_at", "ended_at", "tags", "stream")
)
_CLAIMS = LedgerRow.__struct_fields__.index("claims")
_HISTORY = COLUMNS.index("history")

_to_json = msgspec.json.Encoder(enc_hook=to_json).encode
_from_json = msgspec.json.Decoder().decode
_tags_from_json = msgspec.json.Decoder(dict[str, str]).decode
_history_from_json = msgspec.json.Decoder(CallHistory).decode


def encode_open(row: LedgerRow, owner: str) -> Encoded:
    """``owner`` is the gateway process that will settle it, unless it dies."""
    return row.id, owner, _to_json(row).decode()


def decode_open(values: tuple[str]) -> LedgerRow:
    """A row of the open ones, which is a text alone."""
    fields = _from_json(values[0])
    claims = from_json(fields.pop("claims", []))
    return msgspec.structs.replace(msgspec.convert(fields, LedgerRow), claims=claims)


def same_call(entry: str, other: str) -> bool:
    """Whether two open rows of one id are of one call: one key, one user, one beginning."""
    one, two = decode_open((entry,)), decode_open((other,))
    return (one.key_id, one.user, one.started_at) == (two.key_id, two.user, two.started_at)


def encode_settled(row: LedgerRow) -> Encoded:
    """All but what is held, which is given back."""
    values = list(msgspec.structs.astuple(row))
    del values[_CLAIMS : _CLAIMS + len(_HELD)]
    values[_STARTED] = int(row.started_at * MICRO + 0.5)  # round() costs several times as much
    if row.ended_at is not None:
        values[_ENDED] = int(row.ended_at * MICRO + 0.5)
    values[_TAGS] = _to_json(row.tags).decode() if row.tags else "{}"
    values[_STREAM] = int(row.stream)
    values[_HISTORY] = "" if row.history is None else _to_json(row.history).decode()
    return values


def decode_settled(values: tuple[Any, ...]) -> LedgerRow:
    """A row of the settled ones, in the order of ``COLUMNS``."""
    fields = dict(zip(COLUMNS, values, strict=True))
    fields["started_at"] = fields["started_at"] / MICRO
    if fields["ended_at"] is not None:
        fields["ended_at"] = fields["ended_at"] / MICRO
    fields["tags"] = _tags_from_json(fields["tags"])
    fields["stream"] = bool(fields["stream"])
    fields["history"] = _history_from_json(fields["history"]) if fields["history"] else None
    return LedgerRow(**fields)
