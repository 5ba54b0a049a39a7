"""A model that is as slow as its device: what the runtime adds to that is what it costs."""

from __future__ import annotations

from typing import Any

from benchmarks.runtime.apps.batching import HEAVY_BATCH, WAIT_S
from benchmarks.runtime.apps.mlp import HEAVY, build, infer
from benchmarks.runtime.apps.payload import sample
from local_runtime import Batch, Request, Runtime

app = Runtime("heavy")


@app.init
def init() -> dict[str, Any]:
    return {"model": build(HEAVY)}


@app.handler("/predict", batch=Batch(max_size=HEAVY_BATCH, max_wait_s=WAIT_S), warmup=sample())
def predict(context: dict[str, Any], requests: list[Request]) -> list[dict[str, Any]]:
    rows = infer(context["model"], [request.json["x"] for request in requests])
    return [{"y": row} for row in rows]
