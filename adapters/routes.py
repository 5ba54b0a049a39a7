"""The paths that carry tasks, at a server that does them and for callers of the gateway."""

from __future__ import annotations

from adapters.types import Task

OPENAI_ROUTES: dict[Task, str] = {
    "chat": "/v1/chat/completions",
    "completions": "/v1/completions",
    "embeddings": "/v1/embeddings",
}
"""The path that carries a task in OpenAI's protocol; ``infer`` has none."""
TYPED_ROUTES: dict[Task, str] = {"messages": "/v1/messages", "responses": "/v1/responses"}
"""The path of what is streamed as events with types, where a backend knows it."""
PLAIN_ROUTES: dict[Task, str] = {
    "images": "/v1/images/generations",
    "image_edits": "/v1/images/edits",
    "transcriptions": "/v1/audio/transcriptions",
    "translations": "/v1/audio/translations",
    "speech": "/v1/audio/speech",
    "rerank": "/v1/rerank",
    "moderations": "/v1/moderations",
    "score": "/v1/score",
    "tokenize": "/tokenize",
}
"""The path of what is answered whole, at a server that does it."""
CALLERS_ROUTES: dict[str, Task] = {
    route if route.startswith("/v1") else f"/v1{route}": task
    for task, route in (OPENAI_ROUTES | TYPED_ROUTES | PLAIN_ROUTES).items()
}
"""The path at which callers ask for a task -> the task, of each that can be answered whole."""
COUNT_ROUTE = "/v1/messages/count_tokens"
"""Where a backend that knows messages counts their tokens."""
