"""What callers are told of a batch, as OpenAI says it
(https://platform.openai.com/docs/api-reference/batch/object), and what it costs."""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.batches.records import read_faults
from gateway.money.text import usd
from gateway.storage.batches.base import BatchProgress, StoredBatch


def shown(batch: StoredBatch, progress: BatchProgress | None = None) -> dict[str, Any]:
    """``progress``: of one that has not ended."""
    over = batch.ended_at is not None
    state = batch.state
    is_stopping = batch.canceling_at is not None and not over
    done, failed, cost = batch.done, batch.failed, batch.cost_nano
    if progress is not None and not over:
        done, failed = progress.done, progress.failed + progress.refused
        cost = progress.cost_nano
    faults = read_faults(batch.faults)
    ends = {f"{end}_at": _at(batch.ended_at if state == end else None) for end in _ENDS}
    return {
        "id": batch.id,
        "object": "batch",
        "endpoint": batch.endpoint,
        "errors": {"object": "list", "data": [msgspec.to_builtins(one) for one in faults]}
        if faults
        else None,
        "input_file_id": batch.input_file,
        "completion_window": batch.within,
        "status": "cancelling" if is_stopping else state,
        "output_file_id": batch.output_file or None,
        "error_file_id": batch.error_file or None,
        "created_at": int(batch.created_at),
        "in_progress_at": _at(batch.begun_at),
        "expires_at": int(batch.deadline),
        "finalizing_at": _at(batch.finalizing_at),
        "cancelling_at": _at(batch.canceling_at),
        **ends,
        "request_counts": {"total": batch.total, "completed": done, "failed": failed},
        "metadata": msgspec.json.decode(batch.metadata),
        "cost_usd": usd(cost),
        "budget_usd": None if batch.budget_nano is None else usd(batch.budget_nano),
        "waits_for": batch.why or None if state == "in_progress" else None,
    }


_ENDS = ("completed", "failed", "expired", "cancelled")


def _at(instant: float | None) -> int | None:
    return None if instant is None else int(instant)
