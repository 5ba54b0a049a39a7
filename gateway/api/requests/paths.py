"""The paths that clients write, as the routes have them.

OpenAI's clients are given a root that ends in ``/v1``, Anthropic's and Cohere's one that does not,
and people write a slash at its end: all of them mean the same route. Pure.
"""

from __future__ import annotations

_BELOW_V1 = frozenset(
    (
        "audio", "batches", "chat", "completions", "embeddings", "files", "images", "messages",
        "models", "moderations", "realtime", "rerank", "responses", "score", "tokenize",
    )
)  # fmt: skip
"""What may stand without its ``/v1``."""


def canonical(path: str) -> str:
    """``/chat/completions/`` -> ``/v1/chat/completions``; a path of no such route as it is, but
    for slashes at its end, and NULs: what is no text is U+FFFD, and no database would take one."""
    path = path.rstrip("/").replace("\0", "\ufffd") or "/"
    if path.startswith("/v1/v1/"):
        path = path.removeprefix("/v1")
    first = path[1:].partition("/")[0]
    return f"/v1{path}" if first in _BELOW_V1 else path
