"""``python -m tests.simulation``: many seeds, or one again, told from beginning to end."""

from __future__ import annotations

import argparse
import collections
import multiprocessing
import sys
import time
from collections.abc import Iterator

from tests.simulation.seeds import Result, run


def main() -> int:
    options = _options()
    if options.trace:
        result = run(options.first, verbose=True)
        print(*result.violations, sep="\n")
        return bool(result.violations)
    began, failed, told = time.monotonic(), 0, collections.Counter[str]()
    for result in _results(range(options.first, options.first + options.seeds), options.jobs):
        told.update(result.figures)
        if result.violations:
            failed += 1
            print(
                f"seed {result.seed}: {result.violations[0]} (+{len(result.violations) - 1})",
                flush=True,
            )
            if failed >= options.most:
                break
    seconds = time.monotonic() - began
    print(f"{options.seeds} seeds in {seconds:.0f} s, {failed} failed; {dict(told)}")
    return bool(failed)


def _results(seeds: range, jobs: int) -> Iterator[Result]:
    if jobs == 1:
        yield from map(run, seeds)
        return
    with multiprocessing.get_context("spawn").Pool(jobs, maxtasksperchild=500) as pool:
        yield from pool.imap(run, seeds, chunksize=20)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--seeds", type=int, default=200, help="how many")
    parser.add_argument("--jobs", type=int, default=1, help="processes that share them")
    parser.add_argument("--most", type=int, default=20, help="failures after which it ends")
    parser.add_argument("--trace", action="store_true", help="tell all that the first seed does")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
