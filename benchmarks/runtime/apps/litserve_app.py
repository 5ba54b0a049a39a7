"""The model behind LitServe: batches, its faster queue, one worker, one API server."""

import sys
from typing import Any

import litserve
from starlette.requests import Request

from benchmarks.runtime.apps.batching import BATCH, WAIT_S
from benchmarks.runtime.apps.mlp import build, infer


class Mlp(litserve.LitAPI):  # type: ignore[misc] # its package is not in the tree's environment
    def setup(self, device: Any) -> None:
        self.model = build()

    def decode_request(self, request: Request) -> Any:
        return request["x"]

    def batch(self, inputs: Any) -> Any:
        return inputs

    def predict(self, rows: Any) -> Any:
        return infer(self.model, rows)

    def unbatch(self, output: Any) -> Any:
        return output

    def encode_response(self, output: Any) -> Any:
        return {"y": output}


if __name__ == "__main__":
    server = litserve.LitServer(
        Mlp(max_batch_size=BATCH, batch_timeout=WAIT_S),
        accelerator="cpu",
        workers_per_device=1,
        fast_queue=True,
    )
    server.run(
        host="127.0.0.1",
        port=int(sys.argv[1]),
        num_api_servers=1,
        generate_client_file=False,
        log_level="error",
        access_log=False,
    )
