"""``spillgate advise``: how many GPUs to reserve for recorded traffic, where, and what it saves."""

from __future__ import annotations

import argparse
import datetime
import json
from collections.abc import Iterator, Sequence
from typing import Any

from gateway.cli.recorded.options import (
    add_reserved,
    add_trace,
    recording_of,
    traffic_of,
)
from gateway.cli.recorded.progress import Stages
from gateway.cli.shared import command, table
from gateway.replay.advice import advise, as_json, load_json
from gateway.replay.offers import articles, offers


def main(arguments: Sequence[str]) -> int:
    """Exit status 0; 2: it could not be done."""
    options = _parser().parse_args(arguments)
    today = datetime.datetime.now(datetime.UTC).date()
    with Stages() as stages:
        traffic = traffic_of(options, recording_of(options, stages))
        found = advise(traffic, offers(today, options.reserved), stages.advance)
    load = load_json(traffic)
    told = {
        "object": "advice",
        "trace": traffic.name,
        "load": load,
        "offers": as_json(traffic, found),
        "articles": articles(load["job_seconds"], today),
    }
    if options.json:
        print(json.dumps(told, indent=2))
    else:
        print("\n".join(_text(told)))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = command(
        "advise",
        "Says for each platform's H100 and each price of one by the hour whether to reserve, how "
        "many and for how long, what that saves, and from which busy share and how many requests "
        "a day on a reserved GPU pays; and what articles say of prices beside the lists.",
        "spillgate advise calls.csv --columns time=ts,seconds=duration",
    )
    add_trace(parser)
    add_reserved(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


_HEADS = (
    "serverless", "USD/s", "reserved", "USD/h", "pays from", "a day from", "do", "by month",
    "by hour", "USD a month", "saves", "USD/1M tokens",
)  # fmt: skip


def _text(told: dict[str, Any]) -> Iterator[str]:
    load = told["load"]
    tokens = load["tokens_per_day"]
    yield (
        f"{told['trace']}: {load['requests_per_day']:,.0f} requests a day of "
        f"{load['job_seconds']:g} s each keep {load['busy_gpus']:g} GPUs busy"
        + (f"; {tokens:,} tokens a day" if tokens else "")
    )
    yield ""
    yield table(_HEADS, [_row(one) for one in told["offers"]])
    yield f"What articles say, at calls of {load['job_seconds']:g} s:"
    for one in told["articles"]:
        yield f"  {one['name']}{_pays(one['break_even'])}"
        against = one["list"] or "no list"
        yield from (f"    {said} ({against})" for said in one["differs"])
        if not one["differs"]:
            yield f"    {'agrees with ' if one['list'] else ''}{against}"


def _row(one: dict[str, Any]) -> tuple[str, ...]:
    reserve, saves, tokens = (
        one["reserve"], one["saves_per_month"], one["usd_per_million_tokens"],
    )  # fmt: skip
    kept = one["slo_attainment"][one["choice"]]
    return (
        *(one["serverless"], f"{one['usd_per_second']:g}", one["reserved"]),
        *(f"{one['usd_per_hour']:g}", _share(one["break_even"]["busy_share"])),
        f"{one['break_even']['requests_per_day']:,}",
        f"{one['choice']}, {100 * kept:.1f} % in time",
        *(str(reserve["by_month"]), f"{reserve['by_hour_mean']:g}"),
        f"{one['usd_per_month'][one['choice']]:,.0f}",
        "-" if saves is None else f"{saves:,.0f}",
        "-" if tokens is None else f"{tokens:.2f}",
    )


def _pays(found: dict[str, Any] | None) -> str:
    if found is None:
        return ""
    if found["busy_share"] > 1:
        return ": a reserved H100 never pays"
    return (
        f": a reserved H100 pays from {found['requests_per_day']:,} requests a day on "
        f"({_share(found['busy_share'])} busy)"
    )


def _share(share: float) -> str:
    return "never" if share > 1 else f"{100 * share:.0f} %"
