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
_OTHERS = 9
PLAN = "warm_pool: {burst: {plan: act, most: 200}}"


def main() -> None:
    options = _options()
    setting = Setting(workers=options.workers, more=PLAN if options.plan else "")
    _row("", *_PARTS, "billed", "all in all", "charged", "in time", "at home")
    seeds = range(options.seed, options.seed + options.times_live)
    found = [_beside(_traffic(options, setting, seed), setting, seed) for seed in seeds]
    print(f"live beside its replays: cost {_spread([cost for cost, _ in found])} %")
    print(f"in time {_spread([kept for _, kept in found])} points")


def _beside(traffic: Traffic, setting: Setting, seed: int) -> tuple[float, float]:
    """How much more the calls cost than replays of them say in the mean, and how much more of them
    came in time: a millisecond moves what a single replay says by as much as other starts do."""
    with tempfile.TemporaryDirectory() as folder:
        was, made = asyncio.run(live(Path(folder), traffic, setting, seed))
    said = [replayed(made, setting, seed + 1000 * n) for n in range(1 + _OTHERS)]
    print(f"{traffic.name}: {len(traffic.arrivals)} calls in {traffic.judged_s:.0f} s")
    _told(f"live {seed}", was)
    _told("its replay", said[0])
    usd = [one.usd for one in said]
    mean_usd, kept = statistics.fmean(usd), statistics.fmean(one.attainment for one in said)
    print(
        f"    of {len(said)} with other starts {min(usd):.4f} to {max(usd):.4f}, "
        f"{mean_usd:.4f} in the mean, {100 * kept:.2f} % in time",
        flush=True,
    )
    return was.usd / mean_usd - 1, was.attainment - kept


def _spread(shares: list[float]) -> str:
    told = ", ".join(f"{100 * one:+.1f}" for one in shares)
    if len(shares) < 2:
        return told
    error = statistics.stdev(shares) / len(shares) ** 0.5
    return f"{told}: {100 * statistics.fmean(shares):+.1f} +- {100 * error:.1f} in the mean"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trace", help="a recording; left out: made up")
    parser.add_argument("--since", type=float, default=0.0, help="seconds of it")
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--times", type=float, default=4.0, help="how much faster it is played")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--plan", action="store_true", help="workers of the platform by plan")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--times-live", type=int, default=3, help="each with a seed of its own")
    return parser.parse_args()


def _traffic(options: argparse.Namespace, setting: Setting, seed: int) -> Traffic:
    if options.trace is None:
        return made_up(options.seconds, setting.slo_s, seed)
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
