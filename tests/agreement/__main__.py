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
PLAN = "warm_pool: {burst: {plan: act, most: 60}}"


def main() -> None:
    options = _options()
    setting = Setting(workers=options.workers, more=PLAN if options.plan else "")
    traffic = _traffic(options, setting)
    print(f"{traffic.name}: {len(traffic.arrivals)} calls in {traffic.judged_s:.0f} s")
    with tempfile.TemporaryDirectory() as folder:
        was, made = asyncio.run(live(Path(folder), traffic, setting, options.seed))
    said = [replayed(made, setting, seed) for seed in range(options.seeds)]
    _row("", *_PARTS, "billed", "all in all", "charged", "in time", "at home")
    _told("live", was)
    for one in said:
        _told("replay", one)
    mean = statistics.fmean(one.usd for one in said)
    kept = statistics.fmean(one.attainment for one in said)
    print(f"cost {100 * (was.usd / mean - 1):+.1f} %, in time {100 * (was.attainment - kept):+.2f}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trace", help="a recording; left out: made up")
    parser.add_argument("--since", type=float, default=0.0, help="seconds of it")
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--times", type=float, default=4.0, help="how much faster it is played")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--plan", action="store_true", help="workers of the platform by plan")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=5, help="of the replay")
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
