"""An error in the words of the protocol in which its request came. Pure.

OpenAI's shape is everybody's; Anthropic's is that of ``/v1/messages``:
https://docs.claude.com/en/api/errors. Streams of typed events end in one of these.
"""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.dialects.streams import named_event

_MESSAGES = "/v1/messages"
_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}
_OURS = 500


def is_anthropics(path: str) -> bool:
    """Whether who asks there reads Anthropic's errors."""
    return path == _MESSAGES or path.startswith(f"{_MESSAGES}/")


def as_anthropics(status: int, error: dict[str, Any], request_id: str) -> dict[str, Any]:
    """OpenAI's error object in Anthropic's; ``code`` and ``param`` stay beside it."""
    kind = _TYPES.get(status, "api_error" if status >= _OURS else "invalid_request_error")
    return {"type": "error", "error": {**error, "type": kind}, "request_id": request_id}


def message_error(status: int, error: dict[str, Any], request_id: str) -> bytes:
    """The event that ends a stream of ``/v1/messages`` which broke off."""
    told = as_anthropics(status, error, request_id)
    return b"event: error\ndata: %b\n\n" % msgspec.json.encode(told)


def response_error(error: dict[str, Any]) -> bytes:
    """The same of ``/v1/responses``: OpenAI's flat event, with the object that its clients raise
    beside it."""
    flat = {name: error.get(name) for name in ("code", "message", "param")}
    return named_event("error", {**flat, "error": error})
