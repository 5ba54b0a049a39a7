"""The worker: RunPod's own loop around the model of ``examples.embeddings``.

It takes the envelope of RunPod's vLLM worker, ``{"openai_route", "openai_input"}``, for
``/v1/embeddings``; ``{"spillgate_ping": true}``, which costs nothing and keeps it awake; and the
bare input of an infer call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from examples.embeddings import answer, load
from examples.overflow.leash import hold_on_to_parent

CONCURRENCY = 4

Handler = Callable[[dict[str, Any]], Awaitable[Any]]


def handler_for(model: Any) -> Handler:
    async def handle(job: dict[str, Any]) -> Any:
        job_input = job["input"]
        if job_input.get("spillgate_ping"):
            return {"pong": True}
        route = job_input.get("openai_route")
        if route is None:
            return await asyncio.to_thread(answer, model, job_input)
        if route != "/v1/embeddings":
            return {"error": f"{route} is not served here; /v1/embeddings is"}
        return await asyncio.to_thread(answer, model, job_input["openai_input"])

    return handle


def main() -> None:
    hold_on_to_parent()
    import runpod  # takes seconds and the root logger: only ever in a worker

    runpod.serverless.start(
        {"handler": handler_for(load()), "concurrency_modifier": lambda _: CONCURRENCY}
    )


if __name__ == "__main__":
    main()
