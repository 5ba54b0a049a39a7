"""docs/metrics.md has every metric, with its labels, and every field of the access log."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from adapters.types import ModelMemory
from gateway.access_log import LogLine
from gateway.clock import FakeClock
from gateway.readings import stock
from tests.gateway.assembled import assembled

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "metrics.md").read_text()
ROWS = {
    name: set(re.findall(r"`(\w+)`", labels))
    for name, labels in re.findall(
        r"^\| `(spillgate_\w+)` \| \w+ \| [^|]* \| ([^|]*) ?\|", PAGE, re.MULTILINE
    )
}
LOADED = ModelMemory(resident=1, loads=1, evictions=0, failures=0, load_s=1.0)
NAME = re.compile(r"spillgate_[a-z_]*[a-z]\Z")
NONE = {"spillgate_budget"}
"""In the metadata of a batch."""


def test_every_metric_of_the_source_is_there() -> None:
    said = {
        node.value
        for file in (ROOT / "gateway").rglob("*.py")
        if "console" not in file.parts  # its cookies have such names
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and NAME.match(node.value)
    } | {name for name, *_ in stock({}, {"m": LOADED})}
    assert {"spillgate_calls", "spillgate_descriptors", "spillgate_log_lines_dropped"} <= said
    known = {name.removesuffix("_total") for name in ROWS}
    assert said - NONE == known


async def test_the_labels_of_a_metric_are_those_that_a_scrape_has(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock) as gateway, gateway.client() as client:
        await client.post("/v1/infer/any", json={})
        await client.post("/v1/infer/any", json={}, headers={"Authorization": "Bearer no"})
        text = (await client.get("/metrics")).text
    seen = set()
    for family in text_string_to_metric_families(text):
        name = family.name + ("_total" if family.type == "counter" else "")
        if name.endswith("_created"):
            continue
        for sample in family.samples:
            assert sample.labels.keys() - {"le"} == ROWS[name], name
            seen.add(name)
    assert {"spillgate_calls_total", "spillgate_failed_keys_total", "spillgate_slots"} <= seen


def test_every_field_of_the_access_log_is_there() -> None:
    log = PAGE.partition("## The access log")[2]
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", log, re.MULTILINE)
    told = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert told == set(LogLine.__struct_fields__)
