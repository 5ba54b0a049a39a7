"""``python -m benchmarks.economics [--traces FOLDER] [--only NAME,...] [--quick]``"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.economics import keep_alive
from benchmarks.economics.decisions import decision_us, look_us
from benchmarks.economics.recordings import RECORDINGS, load, path_of, sample
from benchmarks.economics.report import Case, as_table, means, replays
from gateway.replay.comparison import compare
from gateway.replay.platforms import PLATFORMS, Platform
from gateway.replay.readers import BadRecording
from gateway.replay.traffic import Traffic

_PLATFORMS = ("runpod", "modal")
_MORE = 1.5
_OF_MODELS = "gentd26"
"""The recording that names models."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 0; 2 for a recording that is none."""
    options = _parser().parse_args(arguments)
    cases = list(_cases(options))
    for strain in dict.fromkeys(one.strain for one in cases):
        print(f"## {strain}\n\n{replays(one for one in cases if one.strain == strain)}")
    print(f"## All recordings\n\n{means(cases)}")
    print(f"## Learned idle times\n\n{_keep_alive(options.traces)}")
    print(f"## Decisions\n\n{_decisions()}", end="")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--traces", type=Path, metavar="FOLDER", help="where the recordings are")
    parser.add_argument("--only", default="", metavar="NAMES", help=f"of {', '.join(RECORDINGS)}")
    parser.add_argument("--quick", action="store_true", help="as recorded alone")
    return parser


def _cases(options: argparse.Namespace) -> Iterator[Case]:
    for traffic in _traffic(options.traces, options.only):
        for name in _PLATFORMS:
            strains = _strains(traffic, PLATFORMS[name])
            for strain, calls, platform in list(strains)[: 1 if options.quick else None]:
                print(f"{traffic.name} on {name}, {strain}", file=sys.stderr)
                yield Case(strain, compare(calls, platform))


def _strains(traffic: Traffic, platform: Platform) -> Iterator[tuple[str, Traffic, Platform]]:
    yield "as recorded", traffic, platform
    yield f"{_MORE} times the calls", traffic.scaled(_MORE), platform
    yield "a careful platform", traffic, platform.careful()


def _traffic(folder: Path | None, only: str) -> Iterator[Traffic]:
    names = [name for name in only.split(",") if name] or list(RECORDINGS)
    if unknown := [name for name in names if name not in RECORDINGS]:
        print(f"no recording {unknown[0]!r}; there are {', '.join(RECORDINGS)}", file=sys.stderr)
        raise SystemExit(2)
    if folder is None:
        said = f"{', '.join(names)} are missing: --traces FOLDER says where they are"
        print(f"{said}; a made-up recording is replayed instead", file=sys.stderr)
        yield sample()
        return
    for name in names:
        try:
            yield load(name, folder)
        except (FileNotFoundError, BadRecording) as error:
            print(f"left out: {error}", file=sys.stderr)


def _keep_alive(folder: Path | None) -> str:
    try:
        if folder is None:
            raise FileNotFoundError(f"{_OF_MODELS} is missing")
        series = keep_alive.gaps_by_model(path_of(_OF_MODELS, folder))
    except FileNotFoundError as error:
        return f"Not measured: {error}.\n"
    heads = ("a cold start is worth, in idle seconds", "learned, x best", "fixed, x best")
    rows = (
        (
            f"{worth_s:g}",
            f"{keep_alive.learned(series, worth_s):.3f}",
            f"{keep_alive.fixed(series, worth_s):.3f}",
        )
        for worth_s in keep_alive.WORTHS_S
    )
    return as_table(heads, rows)


def _decisions() -> str:
    looks, decisions = look_us(sample()), decision_us()
    rows = (
        ("a look of the planner", f"{looks[0]:.0f} µs", f"{looks[1]:.0f} µs"),
        ("a decision between 20 backends", f"{decisions[0]:.0f} µs", f"{decisions[1]:.0f} µs"),
    )
    return as_table(("", "median", "p99"), rows)


if __name__ == "__main__":
    sys.exit(main())
