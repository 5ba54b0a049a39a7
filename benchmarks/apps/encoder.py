"""The encoder of ``benchmarks.gpu`` as an app: {"ids": [...]} -> {"vector": [...]}."""

from __future__ import annotations

import os
from typing import Any

import torch

from benchmarks.gpu.models import ENCODERS, encoder
from local_runtime import Batch, Request, Runtime
from local_runtime.pytorch import Buckets, Served, device_of, doubling

BATCH = 32
WARMUP = {"ids": [1, 2, 3]}

app = Runtime("encoder")


@app.init
def init() -> dict[str, Any]:
    sizes = {str(name): size for name, size in ENCODERS.items()}
    size, device = sizes[os.environ.get("SPILLGATE_BENCH_SIZE", "tiny")], device_of()
    forward = encoder(size, device, torch.float32).forward(1)
    model = Served(forward, device=device, buckets=Buckets(rows=doubling(BATCH)))
    model.warm_up(torch.ones(1, size.tokens, dtype=torch.int64))
    return {"model": model, "tokens": size.tokens}


@app.handler("/", batch=Batch(max_size=BATCH, max_wait_s=0.0), warmup=WARMUP)
def vectors(context: dict[str, Any], requests: list[Request]) -> list[dict[str, Any]]:
    tokens = context["tokens"]
    rows = [(request.json["ids"] * tokens)[:tokens] for request in requests]
    (found,) = context["model"](torch.tensor(rows))
    return [{"vector": vector} for vector in found.tolist()]
