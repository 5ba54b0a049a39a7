"""The model behind Ray Serve: one replica with ``serve.batch``, no dashboard."""

from __future__ import annotations

import sys
from typing import Any

import ray
from ray import serve

from benchmarks.runtime.apps.batching import BATCH, WAIT_S
from benchmarks.runtime.apps.mlp import build, infer


@serve.deployment(max_ongoing_requests=64, ray_actor_options={"num_cpus": 1})
class Mlp:
    def __init__(self) -> None:
        self.model = build()

    @serve.batch(max_batch_size=BATCH, batch_wait_timeout_s=WAIT_S)  # type: ignore[untyped-decorator]
    async def predict(self, rows: list[Any]) -> list[Any]:
        return infer(self.model, rows)

    async def __call__(self, request: Any) -> Any:
        body = await request.json()
        return {"y": await self.predict(body["x"])}


if __name__ == "__main__":
    port, folder = int(sys.argv[1]), sys.argv[2]
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        object_store_memory=100 * 1024 * 1024,
        _temp_dir=folder,
        _node_ip_address="127.0.0.1",
        log_to_driver=False,
    )
    serve.start(http_options={"host": "127.0.0.1", "port": port, "access_log": False})
    application = Mlp.bind()  # type: ignore[attr-defined]
    serve.run(application, route_prefix="/predict", blocking=True)
