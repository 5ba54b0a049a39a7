"""A worker without a model, run by RunPod's own loop: it does what its input says.

{"sleep": s}        waits, then answers {"slept": s}
{"echo": x}         answers x
{"fail": message}   raises ValueError(message)
{"refuse": x}       answers {"error": x}
{"exit": code}      the process ends
{"progress": x}     reports progress x, waits half a second, answers {"echo": x}
openai_route        repeats the last message in OpenAI's shape
"""

from __future__ import annotations

import asyncio
import os
from typing import Any

from examples.overflow.leash import hold_on_to_parent


async def handle(job: dict[str, Any]) -> Any:
    asked = job["input"]
    if "openai_route" in asked:
        return openai_answer(asked["openai_input"])
    if "sleep" in asked:
        await asyncio.sleep(asked["sleep"])
        return {"slept": asked["sleep"]}
    if "progress" in asked:
        return await report_and_wait(job)
    return at_once(asked)


def at_once(asked: dict[str, Any]) -> Any:
    if "fail" in asked:
        raise ValueError(asked["fail"])
    if "refuse" in asked:
        return {"error": asked["refuse"]}
    if "exit" in asked:
        os._exit(asked["exit"])
    return asked.get("echo", {"pong": True})


async def report_and_wait(job: dict[str, Any]) -> Any:
    import runpod  # it is imported by now

    runpod.serverless.progress_update(job, job["input"]["progress"])
    await asyncio.sleep(0.5)
    return {"echo": job["input"]["progress"]}


def openai_answer(asked: dict[str, Any]) -> dict[str, Any]:
    messages = asked.get("messages") or [{"content": "hello"}]
    return {
        "object": "chat.completion",
        "model": asked["model"],
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": messages[-1]["content"]},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4},
    }


def main() -> None:
    hold_on_to_parent()
    import runpod  # takes seconds and the root logger: only ever in a worker

    runpod.serverless.start({"handler": handle, "concurrency_modifier": lambda _: 8})


if __name__ == "__main__":
    main()
