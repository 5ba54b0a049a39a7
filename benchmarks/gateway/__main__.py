"""``python -m benchmarks.gateway``: see docs/performance.md."""

from __future__ import annotations

import argparse
import contextlib
import resource
import shutil
import sys
import tempfile
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
from benchmarks.gateway.alone import Effort, measure_alone
from benchmarks.gateway.contenders import ALL, NAMES, SLOW
from benchmarks.gateway.contenders.base import Contender
from benchmarks.gateway.figures import Alone, Figures
from benchmarks.gateway.load import LoadFailed
from benchmarks.gateway.machine import describe, today, versions
from benchmarks.gateway.measure import Plan, under_load, under_streams
from benchmarks.gateway.processes import StartFailed
from benchmarks.gateway.table import Report, as_markdown, as_text, insert
from benchmarks.gateway.targets import beside_the_plain, checks

EXAMPLES = """\
examples:
  python -m benchmarks.gateway                             everything: 15 minutes
  python -m benchmarks.gateway --quick                     about two minutes, without the slow ones
  python -m benchmarks.gateway --only spillgate,nginx      these two
  python -m benchmarks.gateway --only spillgate --no-streams --no-alone --rounds 3 --duration 3
  python -m benchmarks.gateway --json run.json --markdown docs/performance.md

contenders: {names}
"""
QUICK = Plan(rounds=2, seconds=2.0, pairs=200, levels=(256, 512, 1024), repeat=1)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    examples = EXAMPLES.format(names=", ".join(NAMES))
    parser = parser_of(
        "gateway",
        "Spillgate beside a bare nginx, routers and other gateways, on this machine.",
        examples,
    )
    add = parser.add_argument
    add(
        "--quick",
        action="store_true",
        help="fewer and shorter rounds, without the slow ones and setups",
    )
    add_rounds(parser, NAMES)
    add("--no-streams", action="store_true", help="leave the paced streams out")
    add("--no-large", action="store_true", help="leave large bodies and answers out")
    add("--no-alone", action="store_true", help="leave memory and start-up time out")
    add_files(parser)
    return parser.parse_args(arguments)


def plan_of(options: argparse.Namespace) -> Plan:
    plan = QUICK if options.quick else Plan()
    large = False if options.no_large else None
    return with_given(plan, rounds=options.rounds, seconds=options.duration, large=large)


def chosen(options: argparse.Namespace) -> list[Contender]:
    if options.only:
        return [one for one in ALL if one.name in options.only]
    return [one for one in ALL if not (options.quick and one.name in SLOW)]


def run(options: argparse.Namespace, folder: Path) -> Report:
    plan, contenders = plan_of(options), chosen(options)
    entries = under_load(contenders, plan, folder, say)
    if not options.no_streams:
        under_streams(contenders, entries, plan, folder, say)
    alone, trouble = _alone(options, folder) if not options.no_alone else (None, ())
    figures = {name: entry.figures for name, entry in entries.items()}
    return Report(
        date=today(),
        machine=describe(),
        versions=versions(),
        settings=_settings(plan),
        figures=tuple(figures.values()),
        alone=alone,
        checks=tuple(checks(figures, alone)),
        setups=tuple(beside_the_plain(figures)),
        trouble=trouble,
    )


def _alone(options: argparse.Namespace, folder: Path) -> tuple[Alone | None, tuple[str, ...]]:
    if options.only and "spillgate" not in options.only:
        return None, ()
    effort = Effort(calls=20_000, starts=3) if options.quick else Effort()
    try:
        return measure_alone(effort, folder / "alone", say), ()
    except (StartFailed, LoadFailed) as error:
        return None, (f"Spillgate alone was not measured: {error}",)


def _broke(figures: Figures) -> bool:
    """One that is not to be had is told of, and is no failure of the run."""
    return bool(figures.error) and not figures.missing


def _settings(plan: Plan) -> str:
    return (
        f"{plan.rounds} rounds of {plan.seconds:g} s each, in turns, {plan.connections} "
        "connections; median (lowest–highest) of the rounds"
    )


def main() -> int:
    options = parse()
    for program in ("wrk", "nginx"):
        if shutil.which(program, path="/usr/local/sbin:/usr/sbin:/usr/local/bin:/usr/bin") is None:
            print(f"{program} is not installed: apt-get install {program}", file=sys.stderr)
            return 1
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    end_when_terminated()
    with contextlib.suppress(KeyboardInterrupt), tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)  # nginx's worker may be another user
        report = run(options, Path(folder))
        deliver(report, as_text(report), options, lambda page: insert(page, as_markdown(report)))
        return 1 if report.trouble or any(map(_broke, report.figures)) else 0
    return 130


if __name__ == "__main__":
    sys.exit(main())
