"""What the lines of a recording mean, by the names of their columns. Pure.

=============  =================================================================================
public         columns
=============  =================================================================================
Azure LLM      ``TIMESTAMP``, ``ContextTokens``, ``GeneratedTokens``: the inference traces of 2023
               and 2024 (github.com/Azure/AzurePublicDataset)
BurstGPT       ``Timestamp``, ``Request tokens``, ``Response tokens`` (github.com/HPMLL/BurstGPT);
               a call with no response has failed, and is left out
Mooncake       ``timestamp`` in milliseconds, ``input_length``, ``output_length``; JSON lines
               (github.com/kvcache-ai/Mooncake)
GenTD26        ``t``, ``exec_s``, ``status``: seconds of a GPU (github.com/alibaba/clusterdata)
ServeGen       ``t``, ``in_tok``, ``out_tok`` (github.com/alibaba/ServeGen)
=============  =================================================================================

Our own ledger's calls come as ``spillgate usage --calls`` tells them, as CSV or JSON lines, and as
the files to which old rows go.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from gateway.replay.traffic import Arrival
from gateway.types import MICRO

Row = Mapping[str, Any]
"""A line: column -> text, or what JSON has."""

FIRST_TOKEN_S, TOKEN_S = 0.1, 0.02
"""How long a call runs where only its tokens are known: until the first, and for each of output."""

_EPOCH_2000_S = 946_684_800.0
"""A time below it is one since the recording's beginning; above it, since 1970."""


class Format(msgspec.Struct, frozen=True, kw_only=True):
    """How an arrival is read from a line."""

    name: str
    columns: frozenset[str]
    """That must be there, by which it is known."""
    read: Callable[[Row], Arrival | None]
    """None for a line that is no call that ran. Raises ValueError or KeyError."""
    text: bool = True
    """Calls are of text: they may wait 2 s and not 10."""
    ours: bool = False
    """Its models are those of a policy."""


class Columns(msgspec.Struct, frozen=True, kw_only=True):
    """Columns named by hand. Either ``seconds`` or ``output`` must be given."""

    time: str
    """Seconds, or a date and time."""
    seconds: str | None = None
    """How long the call ran."""
    output: str | None = None
    """Tokens written; a call then runs 0.1 s and 0.02 s for each."""
    input: str | None = None
    user: str | None = None
    model: str | None = None
    plan: str | None = None


def named(columns: Columns) -> Format:
    """A format of columns named by hand. Raises ValueError where they do not say how long a call
    runs."""
    if columns.seconds is None and columns.output is None:
        raise ValueError("name a column for seconds, or one for output tokens")

    def read(row: Row) -> Arrival:
        tokens = [_count(row, name) for name in (columns.input, columns.output) if name]
        runs_s = (
            run_of(_count(row, columns.output or ""))
            if columns.seconds is None
            else _seconds(row, columns.seconds)
        )
        user, model, plan = (
            str(row[name]) if name else "" for name in (columns.user, columns.model, columns.plan)
        )
        output = tokens[-1] if columns.output else 0
        at = _instant(row, columns.time)
        return Arrival(at, runs_s, user, sum(tokens), output, model, plan)

    given = frozenset(value for value in msgspec.structs.astuple(columns) if value)
    return Format(
        name="columns named by hand", columns=given, read=read, text=columns.seconds is None
    )


def run_of(tokens: int) -> float:
    """Seconds that a call with so many tokens of output runs."""
    return FIRST_TOKEN_S + TOKEN_S * tokens


def format_of(columns: frozenset[str]) -> Format:
    """The format that has these columns. Raises ValueError that tells the formats there are."""
    for one in FORMATS:
        if one.columns <= columns:
            return one
    known = "; ".join(f"{one.name}: {', '.join(sorted(one.columns))}" for one in FORMATS)
    raise ValueError(
        f"no known columns among {', '.join(sorted(columns)) or 'none'}: name them by --columns, "
        f"such as time=ts,seconds=duration,user=who. Known are {known}"
    )


def _instant(row: Row, name: str) -> float:
    return instant(row[name])


def instant(value: object) -> float:
    """Seconds, or a date and time (UTC where no zone is given), as seconds. Raises ValueError."""
    try:
        found = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        found = _dated(str(value))
    if not math.isfinite(found):
        raise ValueError(f"{value!r} is no time")
    return found


def _dated(text: str) -> float:
    # Some traces give tenths of microseconds, which Python's parser refuses.
    head, dot, rest = text.strip().partition(".")
    digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
    zone = rest[len(digits) :]
    try:
        found = datetime.datetime.fromisoformat(
            f"{head}{dot}{digits[:6]:0<6}{zone}" if dot else head
        )
    except ValueError:
        raise ValueError(f"{text!r} is no time: seconds, or a date and time") from None
    return (found if found.tzinfo else found.replace(tzinfo=datetime.UTC)).timestamp()


def is_absolute(at: float) -> bool:
    """Whether such an instant is since 1970, and not since a recording's beginning."""
    return at >= _EPOCH_2000_S


def _seconds(row: Row, name: str) -> float:
    found = float(row[name])
    if not 0 <= found < math.inf:
        raise ValueError(f"{name} is {row[name]!r}: seconds are 0 or more")
    return found


def _count(row: Row, name: str) -> int:
    found = float(row[name])
    if not (found >= 0 and found == int(found)):
        raise ValueError(f"{name} is {row[name]!r}: a number of tokens is 0 or more")
    return int(found)


def _tokens(at: str, read: str, written: str) -> Callable[[Row], Arrival]:
    def arrival(row: Row) -> Arrival:
        output = _count(row, written)
        user = str(row.get("user") or "")
        total = output + _count(row, read)
        return Arrival(_instant(row, at), run_of(output), user, total, output)

    return arrival


def _burst(row: Row) -> Arrival | None:
    if not _count(row, "Response tokens"):
        return None
    return _tokens("Timestamp", "Request tokens", "Response tokens")(row)


def _mooncake(row: Row) -> Arrival:
    output = _count(row, "output_length")
    at = float(row["timestamp"]) / 1000
    return Arrival(at, run_of(output), "", output + _count(row, "input_length"), output)


def _gpu_seconds(row: Row) -> Arrival | None:
    if str(row.get("status", "SUCCEED")) != "SUCCEED":
        return None
    return Arrival(_instant(row, "t"), _seconds(row, "exec_s"), str(row.get("user") or ""))


def _ledger(row: Row) -> Arrival | None:
    if not _ran(row):
        return None
    seconds = _seconds(row, "exec_seconds") or _seconds(row, "gpu_seconds")
    return _ours(row, _instant(row, "started_at"), seconds)


def _ledger_file(row: Row) -> Arrival | None:
    if not _ran(row):
        return None
    us = _count(row, "exec_us") or _count(row, "gpu_us")
    return _ours(row, _count(row, "started_at") / MICRO, us / MICRO)


def _ran(row: Row) -> bool:
    return (row["kind"], row["outcome"]) == ("call", "success")


def _ours(row: Row, at: float, seconds: float) -> Arrival | None:
    if not seconds:
        return None
    read, written = (
        _count(row, name) if row.get(name) else 0 for name in ("input_tokens", "output_tokens")
    )
    user, model, plan = (str(row.get(name) or "") for name in ("user", "model", "plan"))
    stream = str(row.get("stream") or "").lower() in ("true", "1")
    return Arrival(at, seconds, user, read + written, written, model, plan, stream)


_OF_LEDGER = frozenset(("kind", "outcome", "started_at", "model"))

FORMATS = (
    Format(
        name="calls of `spillgate usage --calls`",
        columns=_OF_LEDGER | {"exec_seconds", "gpu_seconds"},
        read=_ledger,
        text=False,
        ours=True,
    ),
    Format(
        name="the ledger's archived rows",
        columns=_OF_LEDGER | {"exec_us", "gpu_us"},
        read=_ledger_file,
        text=False,
        ours=True,
    ),
    Format(
        name="Azure LLM",
        columns=frozenset(("TIMESTAMP", "ContextTokens", "GeneratedTokens")),
        read=_tokens("TIMESTAMP", "ContextTokens", "GeneratedTokens"),
    ),
    Format(
        name="BurstGPT",
        columns=frozenset(("Timestamp", "Request tokens", "Response tokens")),
        read=_burst,
    ),
    Format(
        name="Mooncake",
        columns=frozenset(("timestamp", "input_length", "output_length")),
        read=_mooncake,
    ),
    Format(name="GPU seconds", columns=frozenset(("t", "exec_s")), read=_gpu_seconds, text=False),
    Format(
        name="tokens",
        columns=frozenset(("t", "in_tok", "out_tok")),
        read=_tokens("t", "in_tok", "out_tok"),
    ),
)
"""The first whose columns are all there is taken."""
