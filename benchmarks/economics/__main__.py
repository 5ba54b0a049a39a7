"""``python -m benchmarks.economics [--traces FOLDER] [--only NAME,...] [--scale 1.5]``"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.economics.platforms import PLATFORMS
from benchmarks.economics.replay import replay
from benchmarks.economics.report import Row, as_table
from benchmarks.economics.traces import RECORDINGS, Trace, load, made_up


def main() -> int:
    """Exit status 0; 2 for a trace or a platform that is none."""
    options = _parser().parse_args()
    rows = []
    for trace in _traces(options.traces, options.only):
        scaled = trace if options.scale == 1 else trace.scaled(options.scale)
        for platform in PLATFORMS.values():
            rows.append(Row(trace.name, platform.name, replay(scaled, platform)))
            print(f"{trace.name} on {platform.name}", file=sys.stderr)
    print(as_table(rows), end="")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--traces", type=Path, metavar="FOLDER", help="where the recordings are")
    parser.add_argument("--only", default="", metavar="NAMES", help=f"of {', '.join(RECORDINGS)}")
    parser.add_argument("--scale", type=float, default=1.0, help="so many times the calls")
    return parser


def _traces(folder: Path | None, only: str) -> Iterator[Trace]:
    yield made_up()
    names = [name for name in only.split(",") if name] or list(RECORDINGS)
    if unknown := [name for name in names if name not in RECORDINGS]:
        sys.exit(f"no recording {unknown[0]!r}; there are {', '.join(RECORDINGS)}")
    if folder is None:
        print("no recordings: --traces FOLDER says where they are", file=sys.stderr)
        return
    for name in names:
        try:
            yield load(name, folder)
        except OSError as error:
            print(f"{name} is left out: {error}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
