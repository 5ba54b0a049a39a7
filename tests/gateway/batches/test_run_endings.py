"""The end of ``spillgate batch run`` says why lines were not answered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gateway.batches.results import result_line
from gateway.cli.batches.results import unanswered
from gateway.jobs.outcomes import INTERRUPTED
from gateway.jobs.records import JobFault, to_text
from gateway.storage.batches.base import EndedLine


def line(number: int, fault: JobFault | None = None, **fields: Any) -> bytes:
    told = {"fault": "" if fault is None else to_text(fault), "job": "", "answer": ""} | fields
    return result_line(
        EndedLine(number=number, custom_id=f"c{number}", state=None, error="", **told)
    )


def test_lines_are_counted_by_the_code_of_their_error(tmp_path: Path) -> None:
    out = tmp_path / "results.jsonl"
    refused = JobFault(
        message="No.", type="invalid_request_error", code="missing_field", status=400
    )
    ended = JobFault(message="Over.", type="canceled", code="batch_cancelled", status=0)
    died = INTERRUPTED.fault
    answered = {"response": {"status_code": 200, "body": {}}, "error": None}
    whole = json.dumps(answered).encode() + b"\n"
    out.write_bytes(line(1, refused) + line(2, ended) + line(3, died) + line(4, died) + whole)
    assert unanswered(out) == {"missing_field": 1, "batch_cancelled": 1, "interrupted": 2}


def test_a_line_that_was_interrupted_is_sent_again_in_a_new_batch() -> None:
    """It is no job that its caller could ask for once more."""
    told = line(1, INTERRUPTED.fault)
    assert b"send it in a new batch" in told
    assert b"retry" not in told
