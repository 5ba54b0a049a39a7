"""The description of the HTTP surface, as OpenAPI 3.1 and as a page."""

from __future__ import annotations

from typing import Any

from gateway.api.described import BODIES, CALL_HEADERS, operation_id, query_parameters

_ROUTES: tuple[tuple[str, str, str, str], ...] = (
    ("post", "/v1/chat/completions", "OpenAI", "Chat completion, whole or streamed"),
    ("post", "/v1/completions", "OpenAI", "Text completion, whole or streamed"),
    ("post", "/v1/embeddings", "OpenAI", "Embeddings"),
    ("post", "/v1/responses", "OpenAI", "Response, whole or streamed"),
    ("get", "/v1/responses/{response}", "OpenAI", "One that is kept, again"),
    ("delete", "/v1/responses/{response}", "OpenAI", "Forget one that is kept"),
    ("post", "/v1/images/generations", "OpenAI", "Images by a text"),
    ("post", "/v1/images/edits", "OpenAI", "Images by images and a text"),
    ("post", "/v1/audio/transcriptions", "OpenAI", "The text of a sound"),
    ("post", "/v1/audio/translations", "OpenAI", "The text of a sound in English"),
    ("post", "/v1/audio/speech", "OpenAI", "A sound by a text"),
    ("post", "/v1/moderations", "OpenAI", "What a text has that it should not"),
    ("post", "/v1/rerank", "OpenAI", "Documents by how they fit a query"),
    ("post", "/v1/score", "OpenAI", "How like two texts are"),
    ("post", "/v1/tokenize", "OpenAI", "The tokens of a text"),
    ("get", "/v1/realtime", "OpenAI", "A conversation over a WebSocket"),
    ("post", "/v1/messages", "Anthropic", "Message, whole or streamed"),
    ("post", "/v1/messages/count_tokens", "Anthropic", "Tokens of a message's request"),
    ("get", "/v1/models", "OpenAI", "The models that the policy serves"),
    ("get", "/v1/models/{model}", "OpenAI", "One model"),
    ("post", "/v1/infer/{model}", "Native", "Any JSON in, any JSON out; SSE by Accept"),
    ("post", "/v1/jobs", "Jobs", "A call that nobody waits for, accepted durably"),
    ("get", "/v1/jobs", "Jobs", "Jobs, newest first, a page at a time"),
    ("get", "/v1/jobs/{job}", "Jobs", "One job; ?wait=30s waits for its end"),
    ("post", "/v1/jobs/{job}/cancel", "Jobs", "Stop a job, and the platform's meter"),
    ("post", "/v1/jobs/{job}/retry", "Jobs", "Once more what has failed, as another job"),
    ("get", "/v1/jobs/{job}/events", "Jobs", "What happens to a job, as server-sent events"),
    ("get", "/v1/jobs/{job}/deliveries", "Jobs", "The attempts to tell its end by webhook"),
    ("post", "/v1/jobs/{job}/redeliver", "Jobs", "Tell its end once more"),
    ("post", "/v1/files", "Files", "Store a file, of which nobody else learns"),
    ("get", "/v1/files", "Files", "Files, newest first, a page at a time"),
    ("get", "/v1/files/{file}", "Files", "One file"),
    ("delete", "/v1/files/{file}", "Files", "Delete a file"),
    ("get", "/v1/files/{file}/content", "Files", "Its bytes"),
    ("get", "/v1/files/linked", "Files", "The bytes of a file, for whoever has a link to it"),
    ("post", "/v1/batches", "Batches", "Call a model for each line of a stored file"),
    ("get", "/v1/batches", "Batches", "Batches, newest first, a page at a time"),
    ("get", "/v1/batches/{batch}", "Batches", "One batch, and how far it has come"),
    ("post", "/v1/batches/{batch}/cancel", "Batches", "Begin no more of its lines"),
    ("get", "/v1/batches/{batch}/results", "Batches", "What has ended of it by now"),
    ("post", "/v1/route/explain", "Routing", "The decision for a call, without making it"),
    ("get", "/v1/me", "Usage", "What the key that asks may use, and has left"),
    ("get", "/usage", "Usage", "Cost per user, key, plan, tag, model, backend, day"),
    ("get", "/usage/calls", "Usage", "Single calls, newest first, a page at a time"),
    (
        "get",
        "/usage/forecast",
        "Usage",
        "What will be spent, and when a limit is used up",
    ),
    ("get", "/usage/{request_id}", "Usage", "One call's rows"),
    ("get", "/admin/keys", "Admin", "All keys, without the keys themselves"),
    ("post", "/admin/keys", "Admin", "Make a key; it is shown this once"),
    ("delete", "/admin/keys/{key_id}", "Admin", "Revoke a key at once"),
    ("post", "/admin/keys/{key_id}/rotate", "Admin", "Another key in its place; shown this once"),
    ("get", "/admin/audit", "Admin", "What administrators did, newest first"),
    ("get", "/admin/backends", "Admin", "The backends as they stand"),
    ("post", "/admin/backends/{backend}/drain", "Admin", "Send it no more calls"),
    ("post", "/admin/backends/{backend}/enable", "Admin", "Send it calls again"),
    ("get", "/admin/backends/{backend}/ping", "Admin", "What it will cost to ask it"),
    ("post", "/admin/backends/{backend}/ping", "Admin", "Ask it, by a ping where it has one"),
    ("get", "/admin/schedules", "Admin", "What begins by the clock, when, and what became of it"),
    ("get", "/admin/webhooks", "Admin", "Who is told of what, and what waits for them"),
    ("get", "/admin/webhooks/{webhook}/deliveries", "Admin", "The last attempts"),
    ("post", "/admin/webhooks/{webhook}/test", "Admin", "Send a message that says nothing"),
    ("post", "/admin/webhooks/{webhook}/redeliver", "Admin", "Send once more"),
    ("post", "/admin/webhooks/{webhook}/enable", "Admin", "Ask one again that was disabled"),
    ("get", "/admin/policy", "Admin", "The policy in force"),
    ("put", "/admin/policy", "Admin", "Put a policy (YAML) into force, whole or not at all"),
    ("post", "/admin/policy/validate", "Admin", "Check a policy (YAML)"),
    ("post", "/admin/policy/apply", "Admin", "The same, everywhere, until the files change"),
    ("post", "/admin/policy/rollback", "Admin", "Return to the policy before, or to another"),
    ("get", "/admin/policy/history", "Admin", "What came into force, by whom, newest first"),
    ("get", "/admin/policy/shadow", "Admin", "How a policy that is tried differs, so far"),
    ("post", "/admin/policy/shadow", "Admin", "Try the routes of a policy (YAML) beside"),
    ("delete", "/admin/policy/shadow", "Admin", "Try it no more"),
    ("get", "/admin/policy/{version}", "Admin", "The text of a policy that was in force"),
    ("get", "/v1/tokens", "Tokens", "The client tokens of the key"),
    ("post", "/v1/tokens", "Tokens", "A client token of the key; shown this once"),
    ("delete", "/v1/tokens/{token}", "Tokens", "End one at once"),
    ("get", "/healthz", "Probes", "The process answers"),
    ("get", "/readyz", "Probes", "Every required backend is warm"),
    ("get", "/metrics", "Probes", "Prometheus' text format"),
)
_OPEN = ("/healthz", "/readyz", "/metrics", "/v1/files/linked")
_MAKES = ("/admin/keys", "/v1/tokens")
_ERRORS = {
    "400": "The request was wrong; the error names what and where",
    "401": "No key, or one that is not known",
    "402": "A budget is exhausted",
    "403": "The key has not the right",
    "404": "There is no such thing",
    "409": "No earlier policy, or a change that takes a restart",
    "410": "It was there, and is gone",
    "413": "The body is too large",
    "415": "A body of another kind is wanted",
    "426": "It is a WebSocket",
    "429": "A rate limit; Retry-After says when",
    "501": "This gateway was started without a store for it",
    "502": "The backend failed",
    "503": "Nothing can take the call now; Retry-After says when to try again",
    "504": "The backend took too long",
}
_KEYED = ("401", "429", "503")
_CALL = ("400", "402", "403", "404", "413", "502", "504")
_REFUSES: dict[str, tuple[str, ...]] = {
    "/v1/models": _KEYED,
    "/v1/models/{model}": (*_KEYED, "404"),
    "/v1/jobs": (*_KEYED, "400", "402", "403", "404", "409", "413", "501"),
    "/v1/jobs/{job}": (*_KEYED, "400", "404", "501"),
    "/v1/jobs/{job}/cancel": (*_KEYED, "400", "404", "501"),
    "/v1/jobs/{job}/retry": (*_KEYED, "400", "402", "403", "404", "409", "501"),
    "/v1/jobs/{job}/events": (*_KEYED, "400", "404", "501"),
    "/v1/jobs/{job}/deliveries": (*_KEYED, "400", "404", "409", "501"),
    "/v1/jobs/{job}/redeliver": (*_KEYED, "400", "404", "409", "501"),
    "/v1/batches": (*_KEYED, "400", "404", "413", "501"),
    "/v1/batches/{batch}": (*_KEYED, "400", "404", "501"),
    "/v1/batches/{batch}/cancel": (*_KEYED, "400", "404", "501"),
    "/v1/batches/{batch}/results": (*_KEYED, "400", "404", "409", "501"),
    "/v1/files": (*_KEYED, "400", "413", "415", "501"),
    "/v1/files/{file}": (*_KEYED, "400", "404", "409", "501"),
    "/v1/files/{file}/content": (*_KEYED, "400", "404", "410", "501"),
    "/v1/files/linked": ("400", "404", "410", "501", "503"),
    "/v1/route/explain": (*_KEYED, "400", "403", "404", "413", "503"),
    "/v1/me": (*_KEYED, "400", "403", "504"),
    "/v1/responses/{response}": (*_KEYED, "404"),
    "/v1/realtime": (*_KEYED, *_CALL, "426"),
    "/v1/tokens": (*_KEYED, "400", "403", "413"),
    "/v1/tokens/{token}": (*_KEYED, "403", "404"),
    "/usage": (*_KEYED, "400", "403", "504"),
    "/usage/calls": (*_KEYED, "400", "403", "504"),
    "/usage/forecast": (*_KEYED, "400", "403", "504"),
    "/usage/{request_id}": (*_KEYED, "404"),
    "/admin/keys": (*_KEYED, "400", "403", "413"),
    "/admin/keys/{key_id}": (*_KEYED, "403", "404", "413"),
    "/admin/keys/{key_id}/rotate": (*_KEYED, "400", "403", "404", "413"),
    "/admin/audit": (*_KEYED, "400", "403", "413"),
    "/admin/backends": (*_KEYED, "403", "413"),
    "/admin/backends/{backend}/drain": (*_KEYED, "403", "404", "413"),
    "/admin/backends/{backend}/enable": (*_KEYED, "403", "404", "413"),
    "/admin/backends/{backend}/ping": (*_KEYED, "400", "402", "403", "404", "413"),
    "/admin/schedules": (*_KEYED, "403", "413"),
    "/admin/webhooks": (*_KEYED, "403", "413"),
    "/admin/webhooks/{webhook}/deliveries": (*_KEYED, "403", "404", "413"),
    "/admin/webhooks/{webhook}/test": (*_KEYED, "403", "404", "413"),
    "/admin/webhooks/{webhook}/redeliver": (*_KEYED, "400", "403", "404", "413"),
    "/admin/webhooks/{webhook}/enable": (*_KEYED, "403", "404", "413"),
    "/admin/policy": (*_KEYED, "400", "403", "409", "413"),
    "/admin/policy/validate": (*_KEYED, "400", "403", "413"),
    "/admin/policy/apply": (*_KEYED, "400", "403", "409", "413"),
    "/admin/policy/rollback": (*_KEYED, "400", "403", "404", "409", "413"),
    "/admin/policy/history": (*_KEYED, "400", "403", "413"),
    "/admin/policy/shadow": (*_KEYED, "400", "403", "409", "413"),
    "/admin/policy/{version}": (*_KEYED, "403", "404", "413"),
    "/healthz": (),
    "/readyz": ("503",),
    "/metrics": (),
}
"""Which refusals a path has; a path that is not here is a call's and has them all."""
_NO_BODY = ("drain", "enable", "test")
_YAML = ("/admin/policy", "/admin/policy/validate", "/admin/policy/apply", "/admin/policy/shadow")
DOORS = ("/runpod/", "/replicate/", "/banana/")
"""Below them other platforms' own clients are answered, as those platforms describe it."""
_DESCRIPTION = (
    "One HTTPS endpoint in front of your own warm GPUs and every serverless GPU platform. Below "
    f"{', '.join(DOORS)} clients of other platforms are answered in those platforms' own shapes."
)
_ERROR_REF = {
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
}


def document() -> dict[str, Any]:
    """OpenAPI 3.1. Bodies of OpenAI's routes are OpenAI's own; unknown fields pass through."""
    paths: dict[str, dict[str, Any]] = {}
    for method, path, tag, summary in _ROUTES:
        paths.setdefault(path, {})[method] = _operation(method, path, tag, summary)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Spillgate", "version": "1", "description": _DESCRIPTION},
        "security": [{"key": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
            "schemas": {"Error": _ERROR},
        },
    }


_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "code", "param"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "code": {"type": "string"},
                "param": {"type": ["string", "null"]},
            },
        }
    },
}


def _operation(method: str, path: str, tag: str, summary: str) -> dict[str, Any]:
    names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    operation: dict[str, Any] = {
        "operationId": operation_id(method, path),
        "tags": [tag],
        "summary": summary,
        "parameters": [
            *(
                {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
                for name in names
            ),
            *query_parameters(method, path),
        ],
        "responses": {
            "201" if method == "post" and path in _MAKES else "200": {"description": "The answer"},
            **{
                code: {"description": _ERRORS[code], **_ERROR_REF}
                for code in sorted(_REFUSES.get(path, (*_KEYED, *_CALL)))
            },
        },
    }
    if path in _OPEN:
        operation["security"] = []
    if tag in ("OpenAI", "Native") and method == "post":
        operation["responses"]["200"]["headers"] = CALL_HEADERS
    if method in ("post", "put") and not path.endswith(_NO_BODY):
        kind = "application/json" if path not in _YAML else "application/yaml"
        schema, example = BODIES.get(path, ({}, None))
        told = {"schema": schema} if example is None else {"schema": schema, "example": example}
        operation["requestBody"] = {"content": {kind: told}}
    return operation


def _page() -> str:
    rows = "".join(
        f"<tr><td><code>{method.upper()}</code></td><td><code>{path}</code></td>"
        f"<td>{summary}</td></tr>"
        for method, path, _, summary in _ROUTES
    )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Spillgate</title>'
        "<style>body{font:16px/1.5 system-ui;margin:3rem auto;max-width:60rem;padding:0 1rem}"
        "td{padding:.3rem 1rem .3rem 0;border-top:1px solid #8884}</style>"
        "<h1>Spillgate</h1><p>Send <code>Authorization: Bearer sg-…</code>. The same in "
        f'<a href="/openapi.json">OpenAPI</a>.</p><table>{rows}</table></html>'
    )


DOCS = _page()
