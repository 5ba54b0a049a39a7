"""What the app's own server says when a call is not served: one JSON shape, OpenAI's, for all."""

from __future__ import annotations

from local_runtime.client.pending_call import Unanswered
from local_runtime.http.errors import Refusal
from local_runtime.protocol.events import Done

# kind -> HTTP status. A worker that died is 502 and not 503: clients repeat a 503 by themselves,
# and a call that kills workers is best not repeated blindly.
STATUS = {
    "invalid": 400,
    "failed": 500,
    "timeout": 504,
    "cancelled": 409,
    "overloaded": 503,
    "unsupported": 404,
    "loading": 503,
    "died": 502,
}


def refusal_of(answer: Done | Unanswered) -> Refusal:
    """What a caller is told of a call that failed; never the traceback."""
    status = STATUS[answer.kind or "failed"]
    headers = {"Retry-After": "1"} if status == 503 else {}
    param = answer.param if isinstance(answer, Done) else None
    return Refusal(status, answer.kind or "failed", answer.message, param=param, headers=headers)


def loading(retry_after_s: float) -> Refusal:
    """No worker is ready."""
    headers = {"Retry-After": str(max(1, round(retry_after_s)))}
    return Refusal(503, "loading", "the model is loading", headers=headers)
