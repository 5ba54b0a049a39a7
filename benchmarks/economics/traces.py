"""Recorded traffic: when each call came, and how long a worker has to do with it.

Rows are CSV, plain or gzip, with ``t`` (seconds) and either ``exec_s`` (seconds of a GPU) or
``out_tok`` (tokens of output: 0.1 s and 0.02 s for each). Rows with a ``status`` that is not
SUCCEED are left out.
"""

from __future__ import annotations

import csv
import gzip
import io
import random
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

_FIRST_S, _TOKEN_S = 0.1, 0.02


class Arrival(msgspec.Struct, frozen=True):
    """One call. Seconds."""

    at: float
    runs_s: float


class Trace(msgspec.Struct, frozen=True):
    """Calls in the order of their arrival, and what is measured of them."""

    name: str
    arrivals: list[Arrival]
    slo_s: float
    """How long a call may wait for its worker."""
    judged_from: float
    """What comes earlier is learned from, and not judged."""
    judged_until: float
    step_s: float = 300.0
    """Between two decisions about reserved capacity."""
    window_s: float = 3600.0
    commit_s: float = 3600.0

    def scaled(self, factor: float, seed: int = 7) -> Trace:
        """The same with so many times the calls: copies a second later at most."""
        draw = random.Random(seed)
        copies = [
            Arrival(one.at + draw.random(), one.runs_s)
            for one in self.arrivals
            if draw.random() < factor - 1
        ]
        arrivals = sorted([*self.arrivals, *copies], key=lambda one: one.at)
        return msgspec.structs.replace(self, arrivals=arrivals)


def read_arrivals(path: Path) -> list[Arrival]:
    """Raises ValueError that names the line, and OSError."""
    data = path.read_bytes()
    text = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    rows = csv.DictReader(io.StringIO(text.decode()))
    return sorted(_arrivals(rows, path.name), key=lambda one: one.at)


def _arrivals(rows: csv.DictReader[str], name: str) -> Iterator[Arrival]:
    for row in rows:
        if row.get("status", "SUCCEED") != "SUCCEED":
            continue
        try:
            yield Arrival(float(row["t"]), _runs_s(row))
        except (KeyError, ValueError) as error:
            raise ValueError(f"{name} line {rows.line_num}: {error}") from None


def _runs_s(row: Mapping[str, str]) -> float:
    if "exec_s" in row:
        return float(row["exec_s"])
    return _FIRST_S + _TOKEN_S * float(row["out_tok"])


DAY = 86_400.0


class _Recording(msgspec.Struct, frozen=True):
    file: str
    slo_s: float
    judged_from: float
    judged_until: float
    is_short: bool = False


RECORDINGS = {
    "gentd26": _Recording("gentd26_requests_days01_12.csv.gz", 10.0, 6 * DAY, 12 * DAY),
    "azure": _Recording("azure2023_conv.csv.gz", 2.0, 1200.0, 3600.0, is_short=True),
    "mooncake": _Recording("mooncake_conv.csv.gz", 2.0, 1200.0, 3600.0, is_short=True),
    "r1": _Recording("servegen_r1_24h.csv.gz", 2.0, DAY / 3, DAY),
    "mlarge": _Recording("servegen_mlarge_days01_07.csv.gz", 2.0, 3 * DAY, 7 * DAY),
}
"""Name -> a public recording, and the part of it that is judged."""


def load(name: str, folder: Path) -> Trace:
    """A recording of ``RECORDINGS``. Raises OSError where the folder does not have it."""
    known = RECORDINGS[name]
    arrivals = read_arrivals(folder / known.file)
    times = {"step_s": 60.0, "window_s": 600.0, "commit_s": 300.0} if known.is_short else {}
    return Trace(
        name,
        arrivals,
        known.slo_s,
        known.judged_from,
        min(known.judged_until, arrivals[-1].at),
        **times,
    )


def made_up(seed: int = 1, hours: float = 3.0) -> Trace:
    """A small trace of our own: quiet, with a burst now and then."""
    draw = random.Random(seed)
    arrivals, now, end = [], 0.0, hours * 3600
    while now < end:
        busy = (now // 600) % 3 == 0
        now += draw.expovariate(1.0 if busy else 0.05)
        arrivals.append(Arrival(now, 0.5 + draw.expovariate(0.3)))
    return Trace("made up", arrivals, 2.0, end / 3, end)
