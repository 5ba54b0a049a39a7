"""The worker: RunPod's own loop around the model of ``examples.embeddings``.

It takes the envelope of RunPod's vLLM worker, ``{"openai_route", "openai_input"}``, for
``/v1/embeddings``; ``{"spillgate_ping": true}``, which costs nothing and keeps it awake; and the
bare input of an infer call.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from examples.embeddings import Model, answer, load
from examples.overflow.leash import hold_on_to_parent
from local_runtime import InvalidInput

CONCURRENCY = 4
ROUTE = "/v1/embeddings"

Handler = Callable[[dict[str, Any]], Awaitable[Any]]


def handler_for(model: Model) -> Handler:
    async def handle(job: dict[str, Any]) -> Any:
        job_input = job["input"]
        if job_input.get("spillgate_ping"):
            return {"pong": True}
        route = job_input.get("openai_route", ROUTE)
        if route != ROUTE:
            return refusal(f"{route} is not served here; {ROUTE} is", 501)
        try:
            return await asyncio.to_thread(answer, model, job_input.get("openai_input", job_input))
        except InvalidInput as invalid:
            return refusal(invalid.message, 400, invalid.param)

    return handle


def refusal(message: str, code: int, param: str | None = None) -> dict[str, Any]:
    """The platform's error is a text: OpenAI's error object goes into it as JSON."""
    error = {"message": message, "type": "invalid_request_error", "param": param, "code": code}
    return {"error": json.dumps(error)}


def main() -> None:
    hold_on_to_parent()
    import runpod  # takes seconds and the root logger: only ever in a worker

    runpod.serverless.start(
        {"handler": handler_for(load()), "concurrency_modifier": lambda _: CONCURRENCY}
    )


if __name__ == "__main__":
    main()
