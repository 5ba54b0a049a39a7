"""``python -m tests.agreement [--trace FILE --since S --seconds S --times N] [--plan]``"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
from pathlib import Path

from gateway.replay.readers import read
from gateway.replay.traffic import Traffic
from tests.agreement.runs import Came, Setting, live, replayed
from tests.agreement.slices import made_up, of_recording

_PARTS = ("start", "run", "idle")
_OTHERS = 5
PLAN = "warm_pool: {burst: {plan: act, most: 60}}"


def main() -> None:
    options = _options()
    setting = Setting(workers=options.workers, more=PLAN if options.plan else "")
    traffic = _traffic(options, setting)
    print(f"{traffic.name}: {len(traffic.arrivals)} calls in {traffic.judged_s:.0f} s")
    _row("", *_PARTS, "billed", "all in all", "charged", "in time", "at home")
    found = [_pair(traffic, setting, options.seed + n) for n in range(options.times_live)]
    costs = [was.usd / said.usd - 1 for was, said in found]
    kept = [was.attainment - said.attainment for was, said in found]
    print(f"live beside its replay: cost {_spread(costs)} %, in time {_spread(kept)} points")


def _pair(traffic: Traffic, setting: Setting, seed: int) -> tuple[Came, Came]:
    """What came of the calls, and what a replay of the same starts says; others beside it."""
    with tempfile.TemporaryDirectory() as folder:
        was, made = asyncio.run(live(Path(folder), traffic, setting, seed))
    said = replayed(made, setting, seed)
    _told(f"live {seed}", was)
    _told("its replay", said)
    others = [replayed(made, setting, seed + 1000 + n) for n in range(_OTHERS)]
    usd = [one.usd for one in others]
    print(
        f"    of {_OTHERS} with other starts {min(usd):.4f} to {max(usd):.4f}, "
        f"{statistics.fmean(usd):.4f} in the mean"
    )
    return was, said


def _spread(shares: list[float]) -> str:
    told = ", ".join(f"{100 * one:+.1f}" for one in shares)
    return f"{told}: {100 * statistics.fmean(shares):+.1f} in the mean"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trace", help="a recording; left out: made up")
    parser.add_argument("--since", type=float, default=0.0, help="seconds of it")
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--times", type=float, default=4.0, help="how much faster it is played")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--plan", action="store_true", help="workers of the platform by plan")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--times-live", type=int, default=3, help="each with a seed of its own")
    return parser.parse_args()


def _traffic(options: argparse.Namespace, setting: Setting) -> Traffic:
    if options.trace is None:
        return made_up(options.seconds, setting.slo_s)
    arrivals = read(options.trace).arrivals
    name = Path(options.trace).name
    return of_recording(
        name, arrivals, options.since, options.seconds, options.times, setting.slo_s
    )


def _told(name: str, came: Came) -> None:
    parts = [came.billed.get(part, 0.0) for part in _PARTS]
    usd = (f"{one:.4f}" for one in (*parts, came.billed_usd, came.usd, came.charged_usd))
    _row(name, *usd, f"{100 * came.attainment:.2f} %", str(came.at_home))


def _row(*cells: str) -> None:
    print("".join(f"{cell:>12}" for cell in cells))


if __name__ == "__main__":
    main()
