"""A worker whose handler is a generator, as RunPod's vLLM worker is.

{"stream": n}          puts out {"n": 0} .. {"n": n - 1}
{"stream": n, "fail"}  the same, and then raises
{"sleep": s}           waits, then puts out {"slept": s}
{"echo": x}            puts out x
openai_route           events in OpenAI's dialect, as text; the prompt chooses what happens
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from examples.overflow.leash import hold_on_to_parent


async def handle(job: dict[str, Any]) -> AsyncIterator[Any]:
    asked = job["input"]
    if "openai_route" in asked:
        async for output in openai_outputs(asked["openai_input"]):
            yield output
        return
    if "sleep" in asked:
        await asyncio.sleep(asked["sleep"])
        yield {"slept": asked["sleep"]}
    for number in range(asked.get("stream", 0)):
        yield {"n": number}
        await asyncio.sleep(asked.get("gap", 0.02))
    if "fail" in asked:
        raise ValueError(asked["fail"])
    if "echo" in asked:
        yield asked["echo"]


async def openai_outputs(asked: dict[str, Any]) -> AsyncIterator[Any]:
    if not asked.get("stream"):
        yield {"object": "chat.completion", "choices": [], "usage": usage_of(4)}
        return
    if asked["model"] == "broken":
        yield event({"error": {"message": "no such thing", "code": 400}})
        return
    for word in ("spill", "gate", "!"):
        yield event({"choices": [{"index": 0, "delta": {"content": word}, "finish_reason": None}]})
    yield event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    yield event({"choices": [], "usage": usage_of(4)}) + "data: [DONE]\n\n"


def event(value: dict[str, Any]) -> str:
    return f"data: {json.dumps(value)}\n\n"


def usage_of(tokens: int) -> dict[str, int]:
    return {"prompt_tokens": 3, "completion_tokens": tokens, "total_tokens": 3 + tokens}


def main() -> None:
    hold_on_to_parent()
    import runpod  # takes seconds and the root logger: only ever in a worker

    runpod.serverless.start(
        {
            "handler": handle,
            "return_aggregate_stream": True,
            "concurrency_modifier": lambda _: 8,
        }
    )


if __name__ == "__main__":
    main()
