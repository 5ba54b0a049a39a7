"""What the caller of a background handler is answered at once."""

from __future__ import annotations

import msgspec


def promise_of(job_id: str, started: bool) -> bytes:
    """JSON: ``job_id``, and where ``started``, that too: clients of Potassium look for it."""
    promise = {"started": True, "job_id": job_id} if started else {"job_id": job_id}
    return msgspec.json.encode(promise)
