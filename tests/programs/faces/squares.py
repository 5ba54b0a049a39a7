"""An app for LitServe, with its import line changed."""

from __future__ import annotations

from typing import Any

import local_runtime.litserve as ls


class Squares(ls.LitAPI):
    def setup(self, device: str) -> None:
        self.power = 2

    def decode_request(self, request: Any) -> Any:
        return request["input"]

    def predict(self, x: Any) -> Any:
        return x**self.power

    def encode_response(self, output: Any) -> Any:
        return {"output": output}


if __name__ == "__main__":
    import sys

    server = ls.LitServer(Squares(), accelerator="cpu", timeout=False)
    server.run(port=int(sys.argv[1]))
