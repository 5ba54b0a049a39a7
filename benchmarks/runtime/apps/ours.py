"""The model behind this project's own server: ``python -m local_runtime benchmarks/...``."""

from __future__ import annotations

from typing import Any

from benchmarks.runtime.apps.batching import BATCH, WAIT_S
from benchmarks.runtime.apps.mlp import build, infer
from benchmarks.runtime.apps.payload import sample
from local_runtime import Batch, Request, Runtime

app = Runtime("mlp")


@app.init
def init() -> dict[str, Any]:
    return {"model": build()}


@app.handler("/predict", batch=Batch(max_size=BATCH, max_wait_s=WAIT_S), warmup=sample())
def predict(context: dict[str, Any], requests: list[Request]) -> list[dict[str, Any]]:
    rows = infer(context["model"], [request.json["x"] for request in requests])
    return [{"y": row} for row in rows]


@app.handler("/one", warmup=sample())
def one(context: dict[str, Any], request: Request) -> dict[str, Any]:
    """Without a batch, nobody waits for company."""
    return {"y": infer(context["model"], [request.json["x"]])[0]}
