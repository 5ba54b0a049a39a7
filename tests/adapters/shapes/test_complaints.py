"""What says that something failed, and what only looks so."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.shapes.complaints import complains, is_failure_name, is_hollow

COMPLAINTS: list[Any] = [
    "boom", [{"error": {"message": "x"}}], {"error": "x"}, {"error": True}, {"errors": ["x"]},
    {"detail": "x"}, {"exception": "X"}, {"traceback": "at 0x1"}, {"errorMessage": "x"},
    {"error_msg": "x"}, {"last_error": "x"}, {"failure": {"reason": "x"}}, {"code": 500},
    {"code": "429"}, {"code": 1001}, {"code": "internal_error"}, {"status": 500},
    {"statusCode": 503}, {"status": "error"}, {"status": "FAILED"}, {"state": "cancelled"},
    {"type": "error"}, {"type": "response.failed"}, {"type": "ServerException"},
    {"event": "error"}, {"object": "error"}, {"success": False}, {"ok": False},
    {"success": "false"}, {"type": "x", "code": 502, "message": ""},
]  # fmt: skip
FINE: list[Any] = [
    None, 0, [], {}, "", "null", {"type": "ping"}, {"status": 200}, {"status": "ok"},
    {"status": "completed"}, {"code": 0, "message": "success"}, {"code": 200}, {"success": True},
    {"detail": None, "errors": []}, {"error": {"code": 0, "message": "OK"}}, {"sources": ["a"]},
    {"default": 1}, {"type": "content_block_start"}, {"id": "error"}, {"error_count": 0},
    {"message": "waiting"}, {"code": "print(1)"}, [[1, 2]], ["error"],
]  # fmt: skip


@pytest.mark.parametrize("said", COMPLAINTS, ids=str)
def test_what_is_named_a_failure_is_one(said: Any) -> None:
    assert complains(said)


@pytest.mark.parametrize("said", FINE, ids=str)
def test_what_is_not_named_so_or_says_nothing_is_none(said: Any) -> None:
    assert not complains(said)


@pytest.mark.parametrize("name", ["error", "exception", "fatal_error", "failed", "task.aborted"])
def test_an_event_is_an_error_by_its_name(name: str) -> None:
    assert is_failure_name(name)
    assert is_failure_name(name.encode())


@pytest.mark.parametrize("name", ["message", "chunk", "default", "done", "terror", "delta", ""])
def test_an_event_of_another_name_is_none(name: str) -> None:
    assert not is_failure_name(name)


def test_an_error_as_deep_as_json_can_be_is_looked_at() -> None:
    value: Any = "x"
    for _ in range(5000):
        value = [value]
    assert not is_hollow(value)
