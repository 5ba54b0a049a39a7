"""``python -m benchmarks.runtime``: see docs/performance.md."""

from __future__ import annotations

import argparse
import contextlib
import shutil
import sys
from importlib.metadata import version
from pathlib import Path

from benchmarks.command import (
    add_files,
    add_rounds,
    deliver,
    end_when_terminated,
    parser_of,
    say,
    with_given,
)
from benchmarks.gateway.machine import describe, today
from benchmarks.gateway.table import insert
from benchmarks.runtime.alone import measure_alone
from benchmarks.runtime.apps.batching import BATCH
from benchmarks.runtime.contenders import ALL, NAMES, Contender, short_folder
from benchmarks.runtime.measure import Plan, under_load
from benchmarks.runtime.report import BEGIN, END, Report, as_markdown, as_text

EXAMPLES = """\
examples:
  python -m benchmarks.runtime                               everything: 4 to 6 minutes
  python -m benchmarks.runtime --quick                       about a minute, without Ray Serve
  python -m benchmarks.runtime --only spillgate --no-alone   this project's server by itself
  python -m benchmarks.runtime --json run.json --markdown docs/performance.md

contenders: {names}
"""
QUICK = Plan(rounds=2, seconds=2.0, blocks=6)
SLOW = frozenset(("ray-serve",))
"""Left out of a quick run."""


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    examples = EXAMPLES.format(names=", ".join(NAMES))
    parser = parser_of("runtime", "The stand-alone runtime beside others of its kind.", examples)
    add = parser.add_argument
    add("--quick", action="store_true", help="fewer and shorter rounds, without Ray Serve")
    add_rounds(parser, NAMES)
    add("--no-alone", action="store_true", help="leave overhead, latency and memory out")
    add_files(parser)
    return parser.parse_args(arguments)


def plan_of(options: argparse.Namespace) -> Plan:
    plan = QUICK if options.quick else Plan()
    return with_given(plan, rounds=options.rounds, seconds=options.duration)


def chosen(options: argparse.Namespace) -> list[Contender]:
    if options.only:
        return [one for one in ALL if one.name in options.only]
    return [one for one in ALL if not (options.quick and one.name in SLOW)]


def run(options: argparse.Namespace, folder: Path) -> Report:
    plan, contenders = plan_of(options), chosen(options)
    alone = None if options.no_alone else measure_alone(plan, folder / "alone", say)
    figures = under_load(contenders, plan, folder, say)
    return Report(
        date=today(),
        machine=describe(),
        versions=versions(contenders),
        settings=(
            f"{plan.rounds} rounds of {plan.seconds:g} s each, in turns, {plan.connections} "
            f"connections, batches of {BATCH} at most; median (lowest–highest) of the rounds"
        ),
        figures=figures,
        alone=alone,
    )


def versions(contenders: list[Contender]) -> dict[str, str]:
    found = {name: version(name) for name in ("spillgate", "uvloop", "torch")}
    environments = [one.environment for one in contenders if one.environment]
    return found | {one.package: one.version for one in environments}


def main() -> int:
    options = parse()
    if shutil.which("wrk") is None:
        print("wrk is not installed: apt-get install wrk", file=sys.stderr)
        return 1
    end_when_terminated()
    with contextlib.suppress(KeyboardInterrupt), short_folder() as folder:
        report = run(options, Path(folder))
        deliver(
            report,
            as_text(report),
            options,
            lambda page: insert(page, as_markdown(report), BEGIN, END),
        )
        return 1 if any(one.error for one in report.figures) else 0
    return 130


if __name__ == "__main__":
    sys.exit(main())
