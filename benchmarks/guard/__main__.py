"""``python -m benchmarks.guard``: whether a plain call has grown since it was recorded.

One call is passed on to an OpenAI server with keys, limits, routing and the ledger all on, in one
process without sockets; what is compared is the median of some dozens of calls. Ends with 1 where
it runs more bytecodes than ``MARGIN`` above the record, and says in which files. ``--record``
writes a new record: do so with the change that is worth it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import msgspec

from benchmarks.guard.counting import Counting
from benchmarks.guard.plain_call import run

RECORD = Path(__file__).with_name("record.json")
CALLS, WARM = 41, 40
"""After so many calls a gateway has learned what it looks back on, as in service."""
MARGIN = 0.02
_SHOWN = 12
"""Files that grew most."""


class Record(msgspec.Struct, frozen=True):
    """What a call ran, under one version of Python: another compiles to other bytecodes."""

    python: str
    total: int
    files: dict[str, int]


def measure() -> Record:
    """Counts. Raises RuntimeError where a call is not answered."""
    counting = Counting()
    with tempfile.TemporaryDirectory() as folder:
        run(Path(folder), counting, WARM + CALLS)
    return median_of(counting.calls[WARM:])


def median_of(calls: Sequence[Counter[str]]) -> Record:
    """The call in the middle: a timer that fires in one of them is not the call's."""
    middle = sorted(calls, key=lambda call: call.total())[len(calls) // 2]
    files = dict(sorted(middle.items()))
    return Record(python=_python(), total=middle.total(), files=files)


def compare(now: Record, before: Record) -> tuple[bool, str]:
    """Whether it has grown too much, and what is said of it."""
    if now.python != before.python:
        return False, f"recorded under Python {before.python}: nothing to compare"
    growth = now.total / before.total - 1.0
    said = [f"{now.total:,} bytecodes a call, {before.total:,} recorded: {growth:+.1%}"]
    if now.total <= before.total * (1.0 + MARGIN):
        return False, said[0]
    grown = Counter(now.files)
    grown.subtract(before.files)
    said += [f"{more:+6,} {file}" for file, more in grown.most_common(_SHOWN) if more > 0]
    said.append("make it less, or record it with the change that is worth it:")
    said.append("make bench-guard ARGS=--record")
    return True, "\n".join(said)


def _python() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--record", action="store_true", help="take this count for the record")
    options = parser.parse_args()
    now = measure()
    if options.record:
        RECORD.write_bytes(msgspec.json.format(msgspec.json.encode(now)) + b"\n")
        print(f"recorded: {now.total:,} bytecodes a call")
        return 0
    too_much, said = compare(now, msgspec.json.decode(RECORD.read_bytes(), type=Record))
    print(said)
    return int(too_much)


if __name__ == "__main__":
    sys.exit(main())
