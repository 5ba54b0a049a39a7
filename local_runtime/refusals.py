"""What the app's own server says when a call is not served: one JSON shape, OpenAI's, for all."""

from __future__ import annotations

import msgspec

from local_runtime.events import Done
from local_runtime.link import Unanswered

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


class Refusal(Exception):
    """A call that ends with an error. ``headers`` go with the answer."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        param: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.param = param
        self.headers = headers or {}

    def body(self) -> bytes:
        """``{"error": {"message", "type", "code", "param"}}``"""
        invalid = self.status < 500 and self.code != "cancelled"
        error = {
            "message": self.message,
            "type": "invalid_request_error" if invalid else "server_error",
            "code": self.code,
            "param": self.param,
        }
        return msgspec.json.encode({"error": error})


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
