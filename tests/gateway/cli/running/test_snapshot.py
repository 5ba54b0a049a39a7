"""How a backend stands, in one word."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.cli.running.snapshot import backend_cells, state_of

BACKEND: dict[str, Any] = {
    "backend": "b",
    "kind": "local",
    "blocked": None,
    "blocked_from": None,
    "blocked_until": None,
    "detail": "",
    "warm": True,
    "slots": None,
    "in_flight": 0,
    "warm_idle": None,
}


@pytest.mark.parametrize(
    ("stands", "word"),
    [
        ({}, "ready"),
        ({"warm": False}, "cold"),
        ({"warm": False, "slots": 0}, "starting"),
        ({"blocked": "drained", "warm": False}, "drained"),
    ],
    ids=["warm", "asleep", "loading", "drained"],
)
def test_it_is_one_word(stands: dict[str, Any], word: str) -> None:
    assert state_of({**BACKEND, **stands}) == word


def test_what_nobody_knows_is_left_empty() -> None:
    assert backend_cells(BACKEND) == ("b", "local", "ready", "0", "", "", "")
    away = {**BACKEND, "blocked": "cooling_down", "blocked_from": "503", "blocked_until": "noon"}
    assert backend_cells(away)[-1] == "503 until noon"
