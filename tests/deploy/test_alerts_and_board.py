"""Alert rules and Grafana's board ask for metrics that there are, in PromQL."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy" / "prometheus" / "alerts.yml"
BOARD = ROOT / "deploy" / "grafana" / "boards" / "spillgate.json"
METRICS = (ROOT / "docs" / "metrics.md").read_text()
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
BUILT_IN = {"up"}
_SUFFIX = re.compile(r"_(bucket|sum|count)$")


def documented() -> dict[str, set[str]]:
    """Name -> labels."""
    rows = re.findall(r"^\| `(spillgate_\w+)` \|[^|]*\|[^|]*\|([^|]*)\|", METRICS, re.MULTILINE)
    return {name: set(re.findall(r"`(\w+)`", labels)) for name, labels in rows}


def alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def selectors(expression: str) -> Iterator[tuple[str, set[str]]]:
    """Every metric that is asked for, and the labels by which; ValueError for what is no PromQL."""
    text = promql_parser.parse(expression.replace("$__rate_interval", "5m")).prettify()
    for name, matchers in re.findall(r"\b([a-z_]+(?:total|usd|seconds|\w+))(?:\{([^}]*)\})?", text):
        if name.startswith("spillgate_") or name in BUILT_IN:
            yield name, set(re.findall(r"(\w+)\s*[!=]", matchers))


def expressions() -> list[Any]:
    board = json.loads(BOARD.read_text())
    found = [pytest.param(rule["expr"], id=rule["alert"]) for rule in alerts()]
    for panel in board["panels"]:
        for target in panel["targets"]:
            found.append(pytest.param(target["expr"], id=f"{panel['title']} {target['refId']}"))
    return found


@pytest.mark.parametrize("expression", expressions())
def test_an_expression_asks_for_metrics_that_there_are(expression: str) -> None:
    known, asked = documented(), list(selectors(expression))
    assert asked
    for name, labels in asked:
        if name not in BUILT_IN:
            base = name if name in known else _SUFFIX.sub("", name)
            assert base in known, name
            assert labels <= known[base], (name, labels)


def test_each_alert_says_how_urgent_it_is_and_the_page_of_operations_what_to_do() -> None:
    assert len({rule["alert"] for rule in alerts()}) == len(alerts())
    for rule in alerts():
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert rule["annotations"]["summary"]
        assert f"| **{rule['alert']}** |" in OPERATIONS


def test_no_two_panels_of_the_board_lie_on_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in json.loads(BOARD.read_text())["panels"]:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert at["x"] + at["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
