"""``spillgate tune``: a change of the policy that would have cost less, as a diff; nothing is
applied."""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from gateway.cli.recorded.options import add_trace, recording_of, scenario_of, traffic_of
from gateway.cli.recorded.progress import Stages
from gateway.cli.shared import add_config, command, fail, policy_with_stores, table
from gateway.clock import SystemClock
from gateway.opening.stores import open_ledger
from gateway.policy.model import Policy
from gateway.replay.ledger import calls_of
from gateway.replay.policy_edits import difference, edited
from gateway.replay.policy_scenario import PolicyScenario
from gateway.replay.readers import TraceFile
from gateway.replay.traffic import DAY_S
from gateway.replay.tuning import STRESS, Tuned, tune
from gateway.replay.virtual.changes import Changes, most_of

Edit = tuple[tuple[str, ...], str]
"""(Where in the policy, what is to stand there)."""


def main(arguments: Sequence[str]) -> int:
    """Exit status 0; 2: it could not be done."""
    options = _parser().parse_args(arguments)
    policy = policy_with_stores(options.config)
    found = scenario_of(options, policy)
    if options.gpus is not None:
        found = msgspec.structs.replace(found, gpus=max(0, options.gpus))
    with Stages() as stages:
        tuned = _tuned(options, policy, found, stages)
    text, name = _policy_text(options.config)
    edits = _edits(tuned, found)
    diff = difference(text, _edited(text, edits), name)
    if options.json:
        print(json.dumps(_json(tuned, found, edits, diff), indent=2))
    else:
        print(_text(tuned, found, edits, diff), end="")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = command(
        "tune",
        "Replays what the ledger has of a model (or TRACE) as today, by the planner, on a reserved "
        "fleet and on the platform alone; proposes the cheapest that kept 99 % of the promises in "
        "the earlier part, at one and a half times the calls too, and says what it would have "
        "saved in the later part. Prints a diff of the policy, and applies nothing.",
        "spillgate tune --config config/default.yaml --model minilm --days 2",
    )
    add_trace(parser, or_ledger=True)
    add_config(parser)
    parser.add_argument(
        "--days", type=int, default=1, metavar="N", help="of the ledger, up to now; default: 1"
    )
    parser.add_argument(
        "--gpus", type=int, metavar="N", help="reserved today; default: what the policy says"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _tuned(
    options: argparse.Namespace, policy: Policy, found: PolicyScenario, stages: Stages
) -> Tuned:
    if options.trace is None:
        options.trace = "the ledger"
        recording = _from_ledger(policy, found.model, options.days)
    else:
        recording = recording_of(options, stages)
    traffic = traffic_of(options, recording)
    try:
        changes = Changes(policy, found, SystemClock().time())
        return tune(traffic, found.platform, changes.ways, stages.advance)
    except ValueError as error:
        fail(str(error))


def _from_ledger(policy: Policy, model: str, days: int) -> TraceFile:
    now = SystemClock().time()
    arrivals = asyncio.run(_read(policy, model, now - days * DAY_S, now))
    if not arrivals:
        fail(f"the ledger has no call of {model} that ran in the last {days} days")
    return TraceFile(arrivals, "the ledger", text=False, left_out=0)


async def _read(policy: Policy, model: str, since: float, until: float) -> list[Any]:
    ledger = open_ledger(policy)
    try:
        return await calls_of(ledger, model, since, until)
    finally:
        await ledger.aclose()


def _policy_text(path: Path) -> tuple[str, str]:
    """A folder's policy is several files: the change is then shown by itself."""
    return ("", path.name) if path.is_dir() else (path.read_text(encoding="utf-8"), path.name)


def _edits(tuned: Tuned, found: PolicyScenario) -> list[Edit]:
    way = tuned.way
    rule, backends = ("warm_pool", found.overflow), ("models", found.model, "backends")
    if way == "planned":
        return [((*rule, "plan"), "act"), ((*rule, "most"), str(most_of(tuned.fleet)))]
    if way == "reserved" and found.home is not None:
        return [(backends, f"[{found.home}]")]
    if way == "serverless":
        return [(backends, f"[{found.overflow}]")]
    return []


def _edited(text: str, edits: Sequence[Edit]) -> str:
    for path, value in edits:
        try:
            text = edited(text, path, value)
        except ValueError as error:
            fail(str(error))
    return text


def _json(tuned: Tuned, found: PolicyScenario, edits: Sequence[Edit], diff: str) -> dict[str, Any]:
    least, middle, most = tuned.saves
    return {
        "object": "tuning",
        "model": found.model,
        "overflow": found.overflow,
        "proposed": tuned.way,
        "reserve": tuned.fleet if tuned.way == "reserved" else None,
        "edits": [{"path": list(path), "value": value} for path, value in edits],
        "diff": diff,
        "earlier_part": [
            {**msgspec.structs.asdict(one), "keeps_target": one.keeps} for one in tuned.trials
        ],
        "later_part": {
            "confirmed": tuned.keeps,
            "today_cost_per_1000": round(tuned.today.cost_per_1000, 6),
            "today_slo_attainment": round(tuned.today.slo_attainment, 6),
            "cost_per_1000": round(tuned.proposed.cost_per_1000, 6),
            "slo_attainment": round(tuned.proposed.slo_attainment, 6),
            "stressed_slo_attainment": round(tuned.stressed, 6),
            "saves": {
                "least": round(least, 4), "middle": round(middle, 4), "most": round(most, 4),
            },
        },
    }  # fmt: skip


_HEADS = ("earlier part", "USD/1,000", "in time", f"at {STRESS} times the calls", "")


def _text(tuned: Tuned, found: PolicyScenario, edits: Sequence[Edit], diff: str) -> str:
    trials = [
        (
            one.way,
            f"{one.cost_per_1000:.2f}",
            f"{100 * one.slo_attainment:.2f} %",
            f"{100 * one.stressed:.2f} %",
            "proposed" if one.way == tuned.way else "",
        )
        for one in tuned.trials
    ]
    least, middle, most = (100 * share for share in tuned.saves)
    later = (
        f"later part: {tuned.way} costs {tuned.proposed.cost_per_1000:.2f} USD/1,000 at "
        f"{100 * tuned.proposed.slo_attainment:.2f} % in time "
        f"({100 * tuned.stressed:.2f} % at {STRESS} times the calls), today "
        f"{tuned.today.cost_per_1000:.2f} at {100 * tuned.today.slo_attainment:.2f} %: it saves "
        f"{middle:.1f} % ({least:.1f} to {most:.1f} %)\n"
    )
    if not tuned.keeps:
        later += "the later part does not confirm it: fewer than 99 % came in time\n"
    said = diff or "nothing is to be changed in the policy\n"
    if tuned.way == "reserved":
        said = f"reserve {tuned.fleet} workers\n{said}"
    head = f"{found.model}, which spills to {found.overflow}; {found.gpus} reserved today\n\n"
    return f"{head}{table(_HEADS, trials)}\n{later}\n{said}"
