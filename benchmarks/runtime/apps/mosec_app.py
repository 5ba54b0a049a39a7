"""The model behind mosec: its server in Rust, which forms the batches, and one worker process."""

from __future__ import annotations

from typing import Any

from mosec import Server, Worker

from benchmarks.runtime.apps.batching import BATCH, WAIT_S
from benchmarks.runtime.apps.mlp import build, infer


class Mlp(Worker):  # type: ignore[misc] # its package is not in the tree's environment
    def __init__(self) -> None:
        self.model = build()

    def forward(self, data: list[dict[str, Any]]) -> list[dict[str, Any]]:
        rows = infer(self.model, [one["x"] for one in data])
        return [{"y": row} for row in rows]


if __name__ == "__main__":
    server = Server()
    server.append_worker(
        Mlp, num=1, max_batch_size=BATCH, max_wait_time=int(WAIT_S * 1000), route="/predict"
    )
    server.run()
