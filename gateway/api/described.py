"""What the description of the HTTP surface says of single routes: their queries, bodies, examples
and answers' headers."""

from __future__ import annotations

from typing import Any

_TEXT: dict[str, Any] = {"type": "string"}
_NUMBER: dict[str, Any] = {"type": "integer", "minimum": 1}
_YES: dict[str, Any] = {"type": "boolean"}
_DIMENSIONS = (
    "user", "key", "plan", "model", "task", "backend", "price", "month", "day", "hour",
    "hour_of_week", "outcome", "error", "reason", "route", "kind",
)  # fmt: skip
_ROWS: dict[str, tuple[dict[str, Any], str]] = {
    "from": ({"type": "string", "examples": ["7d"]}, "A date, an instant, or how long ago"),
    "to": (_TEXT, "The same, of the end"),
    "tz": ({"type": "string", "default": "UTC"}, "Whose days and hours"),
    **{name: (_TEXT, f"Of this {name} alone") for name in _DIMENSIONS},
}
QUERIES: dict[str, dict[str, tuple[dict[str, Any], str]]] = {
    "get /usage": {
        "group_by": ({"type": "string", "default": "user"}, "Dimensions, tag:NAME among them"),
        "limit": (_NUMBER, "The dearest groups, and the rest as one"),
        "percentiles": (_YES, "How long calls took"),
        "format": ({"enum": ["json", "csv", "focus", "focus-commitments"]}, "Instead of Accept"),
        **_ROWS,
    },
    "get /usage/calls": {
        "limit": ({**_NUMBER, "maximum": 1000, "default": 50}, "How many on a page"),
        "after": (_TEXT, "`next` of the page before"),
        "attempts": (_YES, "With jsonl: those that failed before"),
        "format": ({"enum": ["json", "jsonl", "csv"]}, "jsonl and csv are all of them"),
        **_ROWS,
    },
    "get /usage/forecast": {"scope": (_TEXT, "user:NAME, key:ID, plan:NAME, tag:NAME=VALUE")},
    "get /v1/me": {"forecast": (_YES, "When the key's budgets are used up")},
    "get /v1/jobs": {
        "state": (_TEXT, "In this state alone"),
        "model": (_TEXT, "Of this model alone"),
        "user": (_TEXT, "Of this user alone; an admin's"),
        "limit": (_NUMBER, "How many on a page"),
        "after": (_TEXT, "The last id of the page before"),
    },
    "get /v1/jobs/{job}": {"wait": ({"type": "string", "examples": ["30s"]}, "For its end")},
    "get /v1/files": {
        "purpose": (_TEXT, "Of this purpose alone"),
        "limit": (_NUMBER, "How many on a page"),
        "after": (_TEXT, "The last id of the page before"),
        "order": ({"enum": ["asc", "desc"]}, "By their age"),
    },
    "get /v1/files/linked": {"token": (_TEXT, "What the link holds")},
}
"""Operation -> the parameters of its query: schema, and what it is."""

_MESSAGES = {
    "type": "array",
    "minItems": 1,
    "items": {"type": "object", "required": ["role"], "properties": {"role": _TEXT}},
}

_TEXTS = {"type": "array", "items": _TEXT}


def _object(needed: tuple[str, ...], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": [*needed], "properties": properties}


BODIES: dict[str, tuple[dict[str, Any], Any]] = {
    "/v1/chat/completions": (
        _object(
            ("model", "messages"),
            model=_TEXT,
            messages=_MESSAGES,
            stream=_YES,
            max_tokens={"type": "integer"},
        ),
        {"model": "tiny-chat", "messages": [{"role": "user", "content": "hello"}]},
    ),
    "/v1/completions": (
        _object(
            ("model", "prompt"), model=_TEXT, prompt={"type": ["string", "array"]}, stream=_YES
        ),
        {"model": "tiny-text", "prompt": "hello"},
    ),
    "/v1/embeddings": (
        _object(("model", "input"), model=_TEXT, input={"type": ["string", "array"]}),
        {"model": "minilm", "input": ["a warm GPU", "a cold start"]},
    ),
    "/v1/infer/{model}": ({}, {"anything": "that the model takes"}),
    "/v1/jobs": (
        _object(("model", "input"), model=_TEXT, input={}, deadline=_TEXT, webhook=_TEXT),
        {"model": "minilm", "input": {"input": "a warm GPU"}},
    ),
    "/v1/tokens": (
        _object(
            ("spend",),
            **dict.fromkeys(("spend", "expires_in", "requests"), _TEXT),
            concurrent={"type": "integer"},
            **dict.fromkeys(("models", "paths", "origins"), _TEXTS),
        ),
        {"spend": "0.05 USD", "expires_in": "10m", "models": ["minilm"]},
    ),
    "/v1/route/explain": (_object(("model",), model=_TEXT), {"model": "minilm"}),
    "/admin/keys": (
        _object(
            ("user",),
            user=_TEXT,
            plan=_TEXT,
            tags={"type": "object"},
            limits={"type": "object"},
            expires_in=_TEXT,
        ),
        {"user": "alice", "tags": {"team": "search"}, "limits": {"spend": "1 USD/day"}},
    ),
    "/admin/keys/{key_id}/rotate": (_object((), grace=_TEXT), {"grace": "1h"}),
}
"""Path -> the schema of its body, and an example of it. Unknown fields of OpenAI's routes pass
through, so no schema forbids any."""

CALL_HEADERS = {
    name: {"description": what, "schema": _TEXT}
    for name, what in {
        "X-Request-Id": "The id of the call's row",
        "X-Spillgate-Backend": "Who answered",
        "X-Spillgate-Reason": "Why it was asked",
        "X-Spillgate-Cost": "US dollars; on a stream it is in the last event's usage",
        "Server-Timing": "Milliseconds: gateway, queue, cold, exec; earlier, at backends before",
    }.items()
}
"""Of an answer to a call."""


def operation_id(method: str, path: str) -> str:
    """'get', '/v1/jobs/{job}' -> 'get_v1_jobs_job'."""
    words = path.translate(str.maketrans("/{}.-", "_  __")).replace(" ", "")
    return f"{method}{words}"


def query_parameters(method: str, path: str) -> list[dict[str, Any]]:
    """As OpenAPI has them; empty where the operation takes none."""
    return [
        {"name": name, "in": "query", "description": what, "schema": schema}
        for name, (schema, what) in QUERIES.get(f"{method} {path}", {}).items()
    ]
