"""The model behind BentoML: one worker, its adaptive batching. A batchable method's input is a list
already, so a request holds a list of one row."""

from __future__ import annotations

from typing import Any

import bentoml

from benchmarks.runtime.apps.batching import BATCH
from benchmarks.runtime.apps.mlp import build, infer

LATENCY_MS = 1000
"""Its batcher refuses calls that it thinks will take longer; its own default is a minute."""


@bentoml.service(
    workers=1,
    logging={"access": {"enabled": False}},
    metrics={"enabled": False},
    tracing={"sample_rate": 0.0},
)
class Mlp:
    def __init__(self) -> None:
        self.model = build()

    @bentoml.api(batchable=True, max_batch_size=BATCH, max_latency_ms=LATENCY_MS)  # type: ignore[untyped-decorator]
    def predict(self, x: list[list[float]]) -> list[list[float]]:
        rows: Any = x
        return infer(self.model, rows)
