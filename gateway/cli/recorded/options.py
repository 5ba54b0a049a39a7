"""The options by which commands are told of a recording and of prices."""

from __future__ import annotations

import argparse
import math
import sys
from typing import NamedTuple, NoReturn

import msgspec

from adapters.settings import parse_duration
from gateway.cli.recorded.progress import Stages
from gateway.clock import SystemClock
from gateway.policy.model import Policy
from gateway.replay.formats import Columns
from gateway.replay.platforms import PLATFORMS, Platform
from gateway.replay.policy_scenario import PolicyScenario, scenario
from gateway.replay.readers import BadRecording, TraceFile, read
from gateway.replay.traffic import Traffic, split


def add_trace(parser: argparse.ArgumentParser, *, or_ledger: bool = False) -> None:
    """What is replayed, and which part of it is judged. ``or_ledger``: left out, the policy's."""
    parser.add_argument(
        "trace",
        nargs="?" if or_ledger else None,
        metavar="TRACE",
        help="CSV or JSON lines, plain or gzip, a folder of such files, or - for standard input: "
        "calls of `spillgate usage --calls`, the ledger's archived rows, Azure's LLM traces, "
        "BurstGPT, Mooncake, ServeGen, or any columns that --columns names",
    )
    parser.add_argument(
        "--columns",
        type=_columns,
        metavar="NAME=COLUMN,...",
        help="names of columns: time, and seconds or output; input, user, model, plan",
    )
    parser.add_argument("--model", metavar="M", help="the calls of this model alone")
    parser.add_argument(
        "--train",
        type=_share,
        metavar="SHARE",
        help="share of the time, from 0 to below 1, that is learned from and not judged; default: "
        "20 minutes of up to two hours, a third of up to two days, half the days of more",
    )
    parser.add_argument(
        "--slo",
        type=_duration,
        metavar="TIME",
        help="how long a call may wait for its worker; default: 2s of text, 10s of other calls",
    )
    parser.add_argument(
        "--scale", type=_positive, default=1.0, metavar="1.5", help="so many times the calls"
    )


def add_prices(parser: argparse.ArgumentParser) -> None:
    """Where calls run, and what that costs."""
    parser.add_argument(
        "--platform",
        choices=PLATFORMS,
        default="runpod",
        help="whose price of an H100 and whose starts; default: runpod",
    )
    add_reserved(parser)
    parser.add_argument(
        "--careful",
        action="store_true",
        help="starts cannot be called off, news of them comes half a second late, reserved "
        "machines take two minutes",
    )


def add_reserved(parser: argparse.ArgumentParser) -> None:
    """What a machine by the hour costs."""
    parser.add_argument(
        "--reserved",
        type=_positive,
        metavar="USD",
        help="an hour of a reserved worker, such as 2.69",
    )


def platform_of(options: argparse.Namespace) -> Platform:
    """That of ``add_prices``."""
    return strained(options, PLATFORMS[options.platform])


def strained(options: argparse.Namespace, platform: Platform) -> Platform:
    """The same at the price that was given, and with what was put in its way."""
    if options.reserved is not None:
        platform = msgspec.structs.replace(platform, reserved_per_hour=options.reserved)
    return platform.careful() if options.careful else platform


def recording_of(options: argparse.Namespace, stages: Stages) -> TraceFile:
    """That of ``add_trace``, or the end of the program with what is wrong with it."""
    try:
        found = read(
            options.trace,
            columns=options.columns,
            model=options.model,
            of_ledger_alone=getattr(options, "config", None) is not None,
            advanced=lambda lines: stages.advance("reading", 1 - math.exp(-lines / 200_000)),
        )
    except BadRecording as error:
        _end(str(error))
    stages.advance("reading", 1.0)
    return found


class MeantPolicy(NamedTuple):
    """A policy that is to be played, and the fleets beside it."""

    policy: Policy
    model: str
    """Of calls of which the recording does not say it."""
    platform: Platform


def meant_by(options: argparse.Namespace, policy: Policy) -> MeantPolicy:
    """That of ``--config``, with the promise of ``--slo`` where one is given, or the end of the
    program. Where its model spills nowhere by the second, the fleets are those of --platform."""
    if options.slo is not None:
        models = {
            name: msgspec.structs.replace(one, slo=options.slo)
            for name, one in policy.models.items()
        }
        policy = msgspec.structs.replace(policy, models=models)
    if options.model is not None and options.model not in policy.models:
        _end(f"no model {options.model}: there are {', '.join(policy.models)}")
    try:
        found = scenario(policy, options.model, SystemClock().time())
    except ValueError:
        if not policy.models:
            _end("the policy has no model that could be played")
        model = options.model or next(iter(policy.models))
        if options.slo is None:
            options.slo = policy.models[model].slo
        return MeantPolicy(policy, model, platform_of(options))
    if options.slo is None:
        options.slo = found.slo_s
    return MeantPolicy(policy, found.model, strained(options, found.platform))


def scenario_of(options: argparse.Namespace, policy: Policy) -> PolicyScenario:
    """The policy's model that is meant, or the end of the program; ``--slo`` goes before it."""
    try:
        found = scenario(policy, options.model, SystemClock().time())
    except ValueError as error:
        _end(str(error))
    if options.slo is None:
        options.slo = found.slo_s
    return found


def traffic_of(options: argparse.Namespace, found: TraceFile) -> Traffic:
    """The recording, split and scaled, or the end of the program."""
    name = options.trace.rstrip("/").rpartition("/")[2]
    try:
        traffic = split(
            "standard input" if options.trace == "-" else name,
            found.arrivals,
            slo_s=options.slo,
            train=options.train,
            text=found.text,
            weekday=found.weekday,
        )
        return traffic.scaled(options.scale)
    except ValueError as error:
        _end(str(error))


def _end(message: str) -> NoReturn:
    print(message, file=sys.stderr)
    raise SystemExit(2)


def _columns(text: str) -> Columns:
    pairs = [pair.partition("=") for pair in text.split(",")]
    given = {name.strip(): column.strip() for name, _, column in pairs}
    known = Columns.__struct_fields__
    if unknown := sorted(given.keys() - set(known)):
        raise argparse.ArgumentTypeError(f"no {unknown[0]!r}: there are {', '.join(known)}")
    if "time" not in given or not all(given.values()):
        raise argparse.ArgumentTypeError("write time=COLUMN,seconds=COLUMN")
    return Columns(**given)


def _share(text: str) -> float:
    found = _number(text)
    if not 0 <= found < 1:
        raise argparse.ArgumentTypeError(f"{text} is no share from 0 to below 1")
    return found


def _positive(text: str) -> float:
    found = _number(text)
    if not found > 0:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return found


def _number(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no number") from None
    if not math.isfinite(found):
        raise argparse.ArgumentTypeError(f"{text} is no number")
    return found


def _duration(text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
