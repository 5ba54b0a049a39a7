"""``spillgate replay``: what recorded traffic would cost, by the planner that is the gateway's."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import msgspec

from gateway.cli.recorded import conversations
from gateway.cli.recorded.beside import Beside, TellingWork, is_worth_while
from gateway.cli.recorded.options import (
    MeantPolicy,
    add_prices,
    add_trace,
    meant_by,
    platform_of,
    recording_of,
    traffic_of,
)
from gateway.cli.recorded.progress import Stages
from gateway.cli.shared import command, fail, policy_offline, table
from gateway.clock import SystemClock
from gateway.replay.comparison import Replayed, as_json, compare, rows
from gateway.replay.page import page
from gateway.replay.traffic import Traffic
from gateway.replay.virtual.played import Assumed, PlayedPolicy, play
from gateway.replay.virtual.told import details, said
from local_runtime import gc_tuning


def main(arguments: Sequence[str]) -> int:
    """Exit status 0; 2: it could not be done."""
    if conversations.OPTION in arguments:
        return conversations.main(arguments)
    options = _parser().parse_args(arguments)
    with Stages() as stages, gc_tuning.relaxed():
        meant = (
            None if options.config is None else meant_by(options, policy_offline(options.config))
        )
        platform = platform_of(options) if meant is None else meant.platform
        recording = recording_of(options, stages)
        traffic = traffic_of(options, recording)
        comparing = partial(compare, traffic, platform, seed=options.seed)
        if meant is None:
            played, found = None, comparing(advanced=stages.advance)
        else:
            played, found = _both(options, meant, traffic, comparing, stages)
    if options.page is not None:
        _write(options.page, found)
    if options.json:
        told = as_json(found) if played is None else {**as_json(found), **details(played)}
        print(json.dumps(told, indent=2))
    else:
        print(_text(found, recording.format, recording.left_out), end="")
        print("" if played is None else said(played), end="")
    return 0


def _both(
    options: argparse.Namespace,
    meant: MeantPolicy,
    traffic: Traffic,
    comparing: TellingWork[Replayed],
    stages: Stages,
) -> tuple[PlayedPolicy, Replayed]:
    """What the policy does, and what it is held against; at once where that takes long."""
    if is_worth_while(len(traffic.arrivals)):
        beside = Beside(comparing, stages.advance)
        played = _played(options, meant, traffic, stages, beside.hear)
        found = beside.result()
    else:
        played = _played(options, meant, traffic, stages)
        found = comparing(advanced=stages.advance)
    return played, msgspec.structs.replace(found, policy=played.outcome)


def _played(
    options: argparse.Namespace,
    meant: MeantPolicy,
    traffic: Traffic,
    stages: Stages,
    hear: Callable[[], object] = lambda: None,
) -> PlayedPolicy:
    """What the policy does, by the code of the gateway."""
    total = len(traffic.arrivals)
    assumed = Assumed(
        model=meant.model, now=SystemClock().time(), reserved_per_hour=options.reserved
    )

    def advanced(calls: int) -> None:
        hear()
        stages.advance("the policy", calls / total)

    found = play(meant.policy, traffic, assumed, seed=options.seed, advanced=advanced)
    stages.advance("the policy", 1.0)
    return found


def _parser() -> argparse.ArgumentParser:
    parser = command(
        "replay",
        "Runs recorded calls against simulated workers, on a virtual clock, by the line and the "
        "planner of the gateway; beside it what a reserved fleet, the platform alone, a rule of "
        "thumb and a plan that knows every call beforehand would cost.",
        "spillgate replay calls.csv --platform modal --page replay.html",
    )
    add_trace(parser)
    add_prices(parser)
    parser.add_argument(
        "--config",
        type=Path,
        metavar="POLICY",
        help="play this policy by the gateway's own code, each call by its model, user and plan "
        "(--model: of one model alone), and hold it against fleets at its prices and starts",
    )
    parser.add_argument("--seed", type=int, default=1, help="of the starts' lengths; default: 1")
    parser.add_argument(
        conversations.OPTION,
        metavar="N",
        help="instead of TRACE: so many made-up conversations; `spillgate replay --conversations 1 "
        "--help` has its options",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--page", type=Path, metavar="FILE", help="an HTML file with charts")
    return parser


def _write(path: Path, found: Replayed) -> None:
    try:
        path.write_text(page(found), encoding="utf-8")
    except OSError as error:
        fail(f"--page: {error}")


def _text(found: Replayed, form: str, left_out: int) -> str:
    traffic, platform = found.traffic, found.platform
    learned = (traffic.judged_from - traffic.arrivals[0].at) / 3600
    besides = f", {left_out:,} lines left out" if left_out else ""
    harm, name = found.harm, "planned" if found.policy is None else "the policy"
    said = (
        "neither a reserved fleet nor the platform alone keeps 99 %"
        if harm is None
        else f"{harm:.3f} of the cheaper of reserved and serverless that keeps 99 %"
    )
    return (
        f"{traffic.name} ({form}{besides}): {len(traffic.arrivals):,} calls; {learned:.1f} h are "
        f"learned from, {traffic.judged_s / 3600:.1f} h with {found.meant.calls:,} calls judged\n"
        f"{platform.name}: reserved ${platform.reserved_per_hour:g} an hour, serverless "
        f"${platform.per_s:g} a second; a call may wait {traffic.slo_s:g} s for its worker\n\n"
        f"{table(*rows(found))}\n{name}: {said}\n"
    )
