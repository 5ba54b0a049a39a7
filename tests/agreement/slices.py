"""Calls that are made twice: of a recording, faster than they came, or made up."""

from __future__ import annotations

import random

import msgspec

from gateway.replay.traffic import Arrival, Traffic


def made_up(seconds: float, slo_s: float, seed: int = 1) -> Traffic:
    """Quiet and busy in turns, 15 seconds each; calls run two seconds in the mean."""
    draw, now = random.Random(seed), 0.0
    arrivals = []
    while now < seconds:
        busy = int(now / 15) % 2 == 1
        now += draw.expovariate(12.0 if busy else 3.0)
        arrivals.append(Arrival(now, 0.6 + draw.expovariate(1 / 1.4)))
    return _whole("made up", arrivals, slo_s)


def of_recording(
    name: str, arrivals: list[Arrival], since: float, seconds: float, times: float, slo_s: float
) -> Traffic:
    """``seconds`` of it, from ``since`` on, ``times`` as fast as they were."""
    part = [
        msgspec.structs.replace(one, at=(one.at - since) / times, runs_s=one.runs_s / times)
        for one in arrivals
        if since <= one.at < since + seconds
    ]
    return _whole(name, sorted(part, key=lambda one: one.at), slo_s)


def _whole(name: str, arrivals: list[Arrival], slo_s: float) -> Traffic:
    last = max(one.at + one.runs_s for one in arrivals)
    return Traffic(
        name=name, arrivals=arrivals, slo_s=slo_s, judged_from=0.0, judged_until=last + 20.0
    )
