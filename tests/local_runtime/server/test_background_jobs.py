"""Background calls under way, and the results that are kept."""

from __future__ import annotations

import msgspec

from local_runtime.client.connection import WorkerConnection
from local_runtime.client.pending_call import PendingCall, Unanswered
from local_runtime.protocol.events import Done, Run
from local_runtime.server.background_jobs import JobRegistry


def begun(board: JobRegistry, id: str) -> PendingCall:
    """A job on a link whose worker says nothing."""
    link = WorkerConnection("worker-0", lambda changed: None, 1 << 20)
    entry = link.ask(Run(0, "/", b"1", id), float("inf"))
    board.add(id, entry)
    return entry


def ended(board: JobRegistry, id: str, answer: Done | Unanswered) -> None:
    begun(board, id).answer = answer
    board.finish(id)


async def test_a_job_is_running_until_it_has_its_answer() -> None:
    board = JobRegistry()
    entry = begun(board, "a")
    assert board.read("a") == {"job_id": "a", "status": "running"}
    entry.answer = Done(1, True, b"[1]")
    board.finish("a")
    assert board.read("a") == {"job_id": "a", "status": "completed", "output": [1]}
    assert "a" in board


async def test_a_job_that_failed_says_why() -> None:
    board = JobRegistry()
    ended(board, "a", Done(1, False, kind="failed", message="the handler failed", detail="trace"))
    ended(board, "b", Unanswered("died", "the worker has died", "killed"))
    assert board.read("a") == {"job_id": "a", "status": "failed", "error": "the handler failed"}
    assert board.read("b") == {"job_id": "b", "status": "failed", "error": "the worker has died"}


async def test_a_job_is_cancelled_once_and_only_while_it_runs() -> None:
    board = JobRegistry()
    entry = begun(board, "a")
    board.cancel("a", 9.0)
    assert (entry.left, entry.deadline) == (True, 9.0)
    assert msgspec.json.encode(board.read("a")).count(b'"cancelled"') == 1
    ended(board, "b", Done(1, True, b"1"))
    board.cancel("b", 9.0)
    board.cancel("nobody", 9.0)
    assert (board.read("b") or {})["status"] == "completed"


async def test_a_result_that_is_too_large_to_be_kept_says_so_and_costs_no_other() -> None:
    """It would have driven out all others, and itself."""
    board = JobRegistry(max_bytes=10)
    ended(board, "a", Done(1, True, b'"4567"'))
    ended(board, "b", Done(1, True, b'"4567890123"'))
    assert (board.read("a") or {})["output"] == "4567"
    error = "the result is too large to be kept: 12 bytes"
    assert board.read("b") == {"job_id": "b", "status": "failed", "error": error}


async def test_the_oldest_results_are_forgotten_by_number_and_by_size() -> None:
    by_number, by_size = JobRegistry(max_kept=2), JobRegistry(max_bytes=10)
    for id in "abc":
        ended(by_number, id, Done(1, True, b"1"))
        ended(by_size, id, Done(1, True, b'"4567"'))
    assert [by_number.read(id) is not None for id in "abc"] == [False, True, True]
    assert [by_size.read(id) is not None for id in "abc"] == [False, False, True]


async def test_a_result_that_is_not_json_is_text() -> None:
    board = JobRegistry()
    ended(board, "a", Done(1, True, b"\xffplain"))
    assert (board.read("a") or {})["output"] == "\N{REPLACEMENT CHARACTER}plain"
