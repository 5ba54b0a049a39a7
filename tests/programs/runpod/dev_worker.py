"""A handler for RunPod's own development server: ``python THIS --rp_serve_api``."""

from __future__ import annotations

from typing import Any

import runpod


def handle(job: dict[str, Any]) -> Any:
    asked = job["input"]
    if "fail" in asked:
        raise ValueError(asked["fail"])
    return asked.get("echo")


if __name__ == "__main__":
    runpod.serverless.start({"handler": handle})
