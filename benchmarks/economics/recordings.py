"""Public recordings by name: which file of a folder, and how long a call may wait.

Which part is learned from is told by their length, as ``spillgate replay`` does it.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from benchmarks.platforms import ROOT
from gateway.replay.formats import Columns
from gateway.replay.readers import read
from gateway.replay.traffic import Traffic, split

SAMPLE = ROOT / "examples" / "traffic.csv"


class Known(msgspec.Struct, frozen=True):
    """A public recording."""

    file: str
    """The beginning of its name."""
    slo_s: float


RECORDINGS = {
    "gentd26": Known("gentd26_requests", 10.0),
    "azure": Known("azure2023_conv", 2.0),
    "mooncake": Known("mooncake_conv", 2.0),
    "r1": Known("servegen_r1", 2.0),
    "mlarge": Known("servegen_mlarge", 2.0),
}
"""Name -> where it lies, and what is promised of it."""


def path_of(name: str, folder: Path) -> Path:
    """The recording's file. Raises FileNotFoundError that says what is missing."""
    known = RECORDINGS[name]
    found = sorted(folder.glob(f"{known.file}*.csv*"))
    if not found:
        raise FileNotFoundError(f"{name}: no {known.file}*.csv in {folder}")
    return found[0]


def load(name: str, folder: Path) -> Traffic:
    """A recording. Raises FileNotFoundError, and BadRecording."""
    path = path_of(name, folder)
    return split(name, read(str(path)).arrivals, slo_s=RECORDINGS[name].slo_s)


def sample() -> Traffic:
    """The made-up one."""
    columns = Columns(time="time", seconds="seconds", user="user")
    return split("made up", read(str(SAMPLE), columns=columns).arrivals, slo_s=2.0)
