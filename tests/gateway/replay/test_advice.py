"""What is advised: the cheapest that keeps its promises, and where a reserved worker pays."""

from __future__ import annotations

import datetime

import pytest

from gateway.replay.advice import Offer, advise, as_json, break_even, load_json
from gateway.replay.offers import articles, offers
from gateway.replay.platforms import PLATFORMS, Platform
from gateway.replay.traffic import Arrival, split

TODAY = datetime.date(2026, 11, 29)
BUSY = split("busy", [Arrival(float(at), 2.9, "", 100) for at in range(3 * 3600)], slo_s=2.0)
RARE = split("rare", [Arrival(900.0 * at, 2.0) for at in range(200)], slo_s=20.0)


def offer(per_hour: float, kind: str = "modal") -> Offer:
    platform: Platform = PLATFORMS[kind]
    dear = Platform(
        name=kind,
        per_s=platform.per_s,
        starts=platform.starts,
        default_idle_s=platform.default_idle_s,
        reserved_per_hour=per_hour,
    )
    return Offer(
        platform=dear,
        serverless=f"{kind}/h100",
        serverless_as_of="2026-07-01",
        reserved="own",
        reserved_as_of="",
    )


@pytest.mark.parametrize(
    ("per_s", "per_call", "job_s", "overhead", "share", "requests"),
    [
        pytest.param(0.001, 0.0, 10.0, 1.0, 0.747, 6456, id="work alone"),
        pytest.param(0.001, 0.0, 10.0, 2.0, 0.374, 3228, id="starts and idle time as much again"),
        pytest.param(0.00024, 0.25, 30.0, 1.0, 0.087, 251, id="a fee of 0.25 a call"),
    ],
)
def test_a_reserved_worker_pays_from_a_share_of_its_time_on(
    per_s: float, per_call: float, job_s: float, overhead: float, share: float, requests: int
) -> None:
    there = Platform(
        name="x", per_s=per_s, per_call=per_call, starts=(0.0,), default_idle_s=0.0
    )  # fmt: skip
    found = break_even(there, job_s, overhead)
    assert found.busy_share == pytest.approx(share, abs=0.001)
    assert round(found.requests_per_day) == requests


def test_steady_load_is_reserved_and_a_rare_call_is_not() -> None:
    [busy] = as_json(BUSY, advise(BUSY, [offer(2.69)]))
    assert busy["choice"] in ("planned", "reserved")
    assert busy["reserve"]["by_month"] == 3
    assert busy["saves_per_month"] >= 0
    assert busy["usd_per_million_tokens"] > 0
    [rare] = as_json(RARE, advise(RARE, [offer(2.69)]))
    assert rare["choice"] != "reserved"
    assert rare["reserve"] == {"by_month": 0, "by_hour_mean": 0, "most": 0}
    assert rare["usd_per_million_tokens"] is None


def test_the_price_of_an_hour_changes_the_answer() -> None:
    cheap, dear = advise(BUSY, [offer(2.69), offer(9.99)])
    assert cheap.break_even.busy_share < dear.break_even.busy_share
    assert cheap.always == 3
    assert dear.choice == "serverless" or dear.always == 0


def test_the_load_is_told_in_a_few_figures() -> None:
    told = load_json(BUSY)
    assert told["job_seconds"] == pytest.approx(2.9)
    assert told["busy_gpus"] == pytest.approx(2.9, rel=0.01)
    assert told["tokens_per_day"] == pytest.approx(100 * told["requests_per_day"], rel=0.01)


def test_offers_are_the_listed_prices_of_the_day() -> None:
    found = list(offers(TODAY, extra_per_hour=1.5))
    assert {one.platform.reserved_per_hour for one in found} == {2.69, 3.99, 1.5}
    assert {one.serverless for one in found} == {"runpod/h100", "modal/h100", "replicate/h100"}
    before = {one.platform.reserved_per_hour for one in offers(datetime.date(2026, 9, 1))}
    assert before == {2.69, 3.29}


def test_articles_are_held_against_the_lists() -> None:
    told = {one["name"]: one for one in articles(30.0, TODAY)}
    runpod = told["runpod/h100"]
    assert runpod["break_even"]["requests_per_day"] == 251
    assert "$0.25 a call, listed: nothing" in runpod["differs"]
    assert told["modal/h100"]["break_even"]["busy_share"] > 1
    assert told["runpod/pod-h100-sxm-community"]["differs"] == []
    assert told["banana/gpu"]["list"] is None
