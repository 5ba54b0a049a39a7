"""docs/http-api.md has every route, header and field that there is, docs/errors.md every code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

from adapters.errors import BackendError, FailureClass
from gateway.api.openapi import document
from gateway.calls.refusals import refusal_of
from gateway.cli import COMMANDS
from gateway.clock import FakeClock
from gateway.jobs.accepting import LINE_FULL
from gateway.money.usage_reports import DIMENSIONS
from gateway.money.usage_reports import refusal_of as report_refusal
from gateway.storage.base import Outcome, ReportFault, ReportRefused
from tests.gateway.assembled import assembled

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "http-api.md").read_text()
ERRORS = (ROOT / "docs" / "errors.md").read_text()
WORDS = set(re.findall(r"`([^`\n]+)`", PAGE + ERRORS))
OTHERS = {"doors", "console"}
"""Whose answers are as other platforms have them, or are pages for people."""
SOURCES = [
    *(
        file
        for file in (ROOT / "gateway").rglob("*.py")
        if not OTHERS.intersection(file.relative_to(ROOT).parts)
    ),
    *(ROOT / "local_runtime" / "http").glob("*.py"),
]
RAISED = {"ApiError": 1, "Refusal": 1, "_too_many": 1}
"""What makes an error, and which of its arguments is the code."""
CODE = re.compile(r"[a-z]+(_[a-z]+)*\Z")


def codes_in(file: Path) -> Iterator[str]:
    """Those that stand where an error is made, or are given the name ``code`` before."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            at = RAISED.get(node.func.id)
            if at is not None and len(node.args) > at:
                yield from _texts(node.args[at])
        if isinstance(node, ast.Assign) and any(
            isinstance(target, ast.Name) and target.id == "code" for target in node.targets
        ):
            branches = node.value
            if isinstance(branches, ast.IfExp):
                yield from _texts(branches.body)
                yield from _texts(branches.orelse)


def _texts(node: ast.expr) -> Iterator[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and CODE.match(node.value):
        yield node.value


def told_of_backends() -> set[tuple[str, int]]:
    """What each class of failure is told as where the provider says no more."""
    failures = [refusal_of(BackendError(kind, "words"), ()) for kind in FailureClass]
    return {(error.code, error.status) for error in failures}


def rows_of_codes() -> dict[str, set[int]]:
    """Code -> the statuses that stand beside it in the page's tables."""
    found: dict[str, set[int]] = {}
    for codes, statuses in re.findall(r"^\| (`[a-z_`, ]+`) \| ([0-9, ]+) \|", ERRORS, re.MULTILINE):
        numbers = {int(number) for number in statuses.split(",")}
        for code in re.findall(r"`([a-z_]+)`", codes):
            found.setdefault(code, set()).update(numbers)
    return found


@pytest.mark.parametrize(
    "operation",
    [f"{method.upper()} {path}" for path, of in document()["paths"].items() for method in of],
)
def test_every_route_is_there(operation: str) -> None:
    assert operation in WORDS


def test_every_code_of_the_source_is_there() -> None:
    raised = {code for file in SOURCES for code in codes_in(file)}
    assert {"budget_exhausted", "missing_api_key", "invalid_http", "rate_limit_exceeded"} <= raised
    assert raised - rows_of_codes().keys() == set()


def test_codes_that_stand_in_tables_of_the_source_are_there_with_their_status() -> None:
    reports = [report_refusal(ReportRefused(fault, "")) for fault in get_args(ReportFault)]
    told = {(error.code, error.status) for error in reports} | told_of_backends()
    rows = rows_of_codes()
    assert {(code, status) for code, status in told if status not in rows.get(code, ())} == set()


def test_no_code_is_there_that_nobody_says() -> None:
    raised = {code for file in SOURCES for code in codes_in(file)}
    raised |= {code for code, _ in told_of_backends()} | set(get_args(ReportFault))
    # Tables in gateway/calls/refusals.py and gateway/jobs/accepting.py have these.
    assert rows_of_codes().keys() - raised - {"over_max_price", LINE_FULL} == set()


def test_every_header_of_an_answer_is_there() -> None:
    """Those whose names are written in the source, but for one that is for a proxy alone, the name
    of a coding, and what Claude Code begins a line of its instructions with."""
    pattern = re.compile(
        r"[\"'](x-[a-z-]+|ratelimit[a-z-]*|retry-after|server-timing|allow)[\"']", re.IGNORECASE
    )
    sent = {name.lower() for file in SOURCES for name in pattern.findall(file.read_text())}
    assert {"x-spillgate-cost", "x-spillgate-max-tokens", "x-should-retry"} <= sent
    ours = {word.partition(":")[0].lower() for word in WORDS}
    assert sent - ours - {"x-accel-buffering", "x-gzip", "x-anthropic-billing-header"} == set()


def test_every_dimension_and_outcome_is_there() -> None:
    assert {*DIMENSIONS, *get_args(Outcome)} - WORDS == set()


def test_every_command_and_its_exit_status_is_there() -> None:
    assert {name for name in COMMANDS if f"\n| `{name}` | " not in PAGE} == set()


CHAT = {"model": "chat", "messages": [{"role": "user", "content": "hello"}]}


def names_in(value: Any) -> set[str]:
    """Of objects, those inside others too; a tag's name is its owner's."""
    if isinstance(value, list):
        return {name for one in value for name in names_in(one)}
    if not isinstance(value, dict):
        return set()
    inner = {name for key, one in value.items() if key not in HELD for name in names_in(one)}
    return set(value) | inner


HELD = ("tags", "charged_by", "decision", "filters", "files")
"""Objects of which the page names only the whole."""
SAID = {"object", "from", "to", "group_by", "filters", "limit", "currency"}
"""What an answer repeats of the question."""


async def test_every_field_of_an_answer_is_there(tmp_path: Path, clock: FakeClock) -> None:
    async with assembled(tmp_path, clock) as gateway, gateway.client() as client:
        admin = {"Authorization": f"Bearer {gateway.key('root', admin=True)}"}
        answer = await client.post("/v1/chat/completions", json=CHAT)
        id = answer.headers["x-request-id"]
        seen: set[str] = set()
        for path in ("/v1/me", "/usage", "/usage/calls", f"/usage/{id}", "/admin/keys"):
            seen |= names_in((await client.get(path, headers=admin)).json())
    assert {"resets_at", "cold_starts", "worker", "total_cost_nano", "hint"} <= seen
    assert seen - WORDS - SAID - {"keys"} == set()
