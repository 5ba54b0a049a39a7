"""Handlers that give back what came, as bytes, as an array and as numbers in JSON."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from local_runtime import Request, Response, Runtime

app = Runtime("bodies")
BINARY = {"content-type": "application/octet-stream"}


@app.handler("/bytes")
def as_bytes(context: dict[str, Any], request: Request) -> Response:
    return Response(body=request.file().data, headers=BINARY)


@app.handler("/numpy")
def as_numpy(context: dict[str, Any], request: Request) -> Response:
    array = np.frombuffer(request.file().data, dtype=np.float32)
    return Response(body=array.tobytes(), headers=BINARY)


@app.handler("/torch")
def as_torch(context: dict[str, Any], request: Request) -> Response:
    tensor = torch.from_numpy(np.frombuffer(request.file().data, dtype=np.float32).copy())
    return Response(body=tensor.numpy().tobytes(), headers=BINARY)


@app.handler("/json")
def as_json(context: dict[str, Any], request: Request) -> dict[str, Any]:
    array = np.asarray(request.json["x"], dtype=np.float32)
    return {"y": array}
