"""``spillgate prices``: tables and policies, beside each other."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.cli import main
from gateway.money.price_comparison import compared, listed
from gateway.policy.sections.price import DatedPrices, Price
from gateway.policy.sections.price_tables import TABLES, read_table, table
from gateway.policy.syntax.problems import PolicyError
from gateway.types import NANO

TODAY = datetime.date(2026, 11, 29)
POLICY = """
version: 1
backends:
  far: {kind: runpod, endpoint: abc, api_key: "${NOT_SET_ANYWHERE}", price: mine}
  other: {kind: runpod, endpoint: abc, api_key: "${NOT_SET_ANYWHERE}", price: list/runpod/b200}
models:
  m: {task: infer, backends: [far, other]}
prices:
  mine: {per_second: 0.0012, bills: [start, run], as_of: 2026-11-09, source: a page}
"""

Run = Callable[..., str]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    def command(*arguments: str, status: int = 0) -> str:
        assert main(["prices", *arguments]) == status
        return capfd.readouterr().out

    return command


def test_a_table_is_listed_and_names_narrow_it(run: Run) -> None:
    lines = run("runpod/h").splitlines()
    first = "runpod/h100  $0.00116 a second, bills start+run+idle  (as of 2026-06-08)"
    assert lines[0].startswith(first)
    assert all(line.startswith("runpod/h") for line in lines)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("claude", "; did you mean anthropic/claude-"),
        ("runpd/h100", "; did you mean runpod/h100"),
        ("nothere", "."),
    ],
)
def test_a_name_that_no_price_begins_with_is_told(
    name: str, words: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["prices", "runpod/", name]) == 1
    told = capfd.readouterr()
    assert told.out == ""
    assert f"no price begins with {name!r}{words}" in told.err


def test_what_was_looked_up_long_ago_is_out_of_date(run: Run) -> None:
    told = run("replicate/l40s", "--strict", status=1)
    assert "OUT OF DATE: looked up" in told
    assert "OUT OF DATE" not in run("replicate/l40s", "--strict", "--older-than", "1000000")


def test_the_articles_are_held_against_the_list(run: Run) -> None:
    told = run("--table", "articles", "--against", "list", "runpod/", "banana/")
    assert (
        "DIFFERS from runpod/h100: $0.00024 a second instead of $0.00116 (-79.3 %); $0.25 a call "
        "instead of nothing; it bills run, that start+run+idle"
    ) in told
    assert "agrees with runpod/pod-h100-sxm-community" in told
    assert "nothing to hold it against" in told


def test_a_policys_prices_are_held_against_their_names_or_the_nearest(
    run: Run, tmp_path: Path
) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY)
    told: dict[str, Any] = json.loads(
        run("--config", str(path), "--against", "list", "--json", "--strict", status=1)
    )
    found = {one["name"]: one for one in told["compared"]}
    assert found["list/runpod/b200"]["differences"] == []
    assert found["mine"]["against"] == "runpod/h100"
    assert found["mine"]["differences"] == [
        {"rate": "per_second", "usd": "0.0012", "against_usd": "0.00116", "percent": 3.448}
    ]


@pytest.mark.parametrize("name", TABLES)
def test_every_price_of_a_table_has_a_date_and_a_source(name: str) -> None:
    for price, dated in table(name).items():
        assert all(entry.as_of and entry.source for entry in dated.entries), price
        assert "/" in price


def test_a_table_without_a_source_is_refused_with_its_place() -> None:
    text = "version: 1\nprices:\n  a/b: {per_call: 1, as_of: 2026-11-09}\nroutes: []\n"
    with pytest.raises(PolicyError) as caught:
        read_table(text, "mine.yaml")
    assert str(caught.value).splitlines() == [
        "mine.yaml:3:3: prices.a/b.source: is required in a table of prices",
        "mine.yaml:4:1: routes: unknown key; allowed: version, prices",
    ]


def test_an_unknown_table_is_an_error() -> None:
    with pytest.raises(KeyError):
        table("../list")


@pytest.mark.parametrize(
    ("price", "stale"),
    [
        (Price(per_call=1), "nobody says when it was looked up"),
        (Price(per_call=1, as_of="2026-11-28"), ""),
        (Price(per_call=1, as_of="2026-06-02"), ""),
        (Price(per_call=1, as_of="2026-06-01"), "looked up 181 days ago"),
        (Price(per_call=1, as_of="2026-12-01"), "holds from 2026-12-01 on"),
        (
            Price(per_call=1, as_of="2026-11-01", until="2026-11-29", source="s"),
            "holds no more since 2026-11-29",
        ),
        (Price(per_call=1, as_of="2026-11-01", until="2026-11-30", source="s"), ""),
    ],
    ids=["no date", "yesterday", "180 days", "181 days", "to come", "over", "its last day"],
)
def test_a_price_is_as_old_as_its_reading(price: Price, stale: str) -> None:
    [one] = listed({"p": DatedPrices.of((price,))}, TODAY, 180)
    assert one.stale == stale


def test_a_difference_is_told_in_percent_where_it_can_be() -> None:
    ours = listed({"p": DatedPrices.of((Price(per_second=3, per_call=0),))}, TODAY, 180)
    theirs = listed({"p": DatedPrices.of((Price(per_second=2, per_hour=NANO),))}, TODAY, 180)
    [found] = compared(ours, theirs)
    told = [(one.figure, one.ours, one.theirs, one.percent) for one in found.differences]
    assert told == [
        ("per_hour", None, NANO, None),
        ("per_second", 3, 2, 50.0),
        ("per_call", 0, None, None),
    ]
