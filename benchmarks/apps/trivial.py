"""A model that costs nothing: what remains is the gateway and the way to a local worker."""

from __future__ import annotations

from typing import Any

from local_runtime import Request, Runtime

app = Runtime("trivial")


@app.init
def init() -> dict[str, Any]:
    message = {"role": "assistant", "content": "A spillway carries what a reservoir cannot hold."}
    return {
        "answer": {
            "id": "chatcmpl-bench",
            "object": "chat.completion",
            "created": 1767225600,
            "model": "bench-model",
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 28, "completion_tokens": 14, "total_tokens": 42},
        }
    }


@app.handler("/v1/chat/completions", warmup={"messages": []})
def chat(context: dict[str, Any], request: Request) -> Any:
    return context["answer"]
