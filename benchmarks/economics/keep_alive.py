"""How well a learned idle time does: its cost over that of whoever knows every gap beforehand.

A gap costs its idle seconds, up to the time-out, and ``B`` more where it was longer: a cold start
is worth ``B`` idle seconds. Who knows the gap pays the lesser of it and ``B``.
"""

from __future__ import annotations

import csv
import gzip
import io
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from gateway.routing.gaps import GapHistory

WORTHS_S = (9.0, 60.0, 300.0, 900.0)
"""What is tried for B."""


def gaps_by_model(path: Path) -> list[list[float]]:
    """Of a recording with ``t``, ``model`` and ``exec_s``: each model's gaps between one call's end
    and the next one's arrival, in order."""
    data = path.read_bytes()
    text = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    calls: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
    for row in csv.DictReader(io.StringIO(text.decode())):
        if row.get("status", "SUCCEED") == "SUCCEED":
            calls[row["model"]].append((float(row["t"]), float(row["exec_s"])))
    return [_gaps(sorted(one)) for one in calls.values()]


def _gaps(calls: Sequence[tuple[float, float]]) -> list[float]:
    found, end = [], calls[0][0]
    for at, runs_s in calls:
        if at > end:
            found.append(at - end)
        end = max(end, at + runs_s)
    return found


def learned(series: Iterable[Sequence[float]], worth_s: float) -> float:
    """Cost over the best, by the time-outs that the gateway learns."""
    return _ratio(series, worth_s, lambda history: history.timeout(worth_s))


def fixed(series: Iterable[Sequence[float]], worth_s: float) -> float:
    """The same by a time-out of ``worth_s`` for all."""
    return _ratio(series, worth_s, lambda _: worth_s)


def _ratio(
    series: Iterable[Sequence[float]], worth_s: float, timeout: Callable[[GapHistory], float]
) -> float:
    cost = best = 0.0
    for gaps in series:
        history = GapHistory()
        for gap in gaps:
            kept_s = timeout(history)
            cost += min(gap, kept_s) + (worth_s if gap > kept_s else 0.0)
            best += min(gap, worth_s)
            history.observe(gap)
    return cost / best
