"""Several small torch models that share a worker's memory."""

from __future__ import annotations

import asyncio
import os
import time
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import torch

from local_runtime import Batch, Request, Runtime
from local_runtime import Step as StepOutcome

app = Runtime("many")
GONE: list[str] = []


@app.init
def init() -> dict[str, Any]:
    return {"bias": 1.0}


def load(factor: float, context: dict[str, Any]) -> torch.nn.Linear:
    """A model that multiplies by ``factor`` and adds the context's bias."""
    model = torch.nn.Linear(1, 1)
    with torch.no_grad():
        model.weight.fill_(factor)
        model.bias.fill_(context["bias"])
    return model.eval()


def forget(name: str, model: torch.nn.Linear) -> None:
    GONE.append(name)


for name, factor in (("double", 2.0), ("triple", 3.0), ("ten", 10.0)):
    app.model(name, memory="1GiB", unload=partial(forget, name))(partial(load, factor))


@app.model("slow", memory="1GiB")
def slow(context: dict[str, Any]) -> torch.nn.Linear:
    """Is loaded once the test has made a file of that name."""
    gate = Path(os.environ["GATE"])
    gate.with_suffix(".begun").touch()
    deadline = time.monotonic() + 30
    while not gate.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    return load(7.0, context)


@app.model("broken", memory="1GiB")
def broken(context: dict[str, Any]) -> torch.nn.Linear:
    raise OSError("the disk of the model's owner")


@app.model("stuck", memory="1GiB", timeout=0.2)
def stuck(context: dict[str, Any]) -> torch.nn.Linear:
    time.sleep(60)
    raise AssertionError("its worker should be gone")


@app.model("late", memory="1GiB")
async def late(context: dict[str, Any]) -> torch.nn.Linear:
    await asyncio.sleep(0)
    return load(5.0, context)


Model = Callable[[torch.Tensor], torch.Tensor]


@app.handler("/", models="*")
def scale(context: dict[str, Any], request: Request, model: Model) -> Any:
    with torch.inference_mode():
        (value,) = model(torch.tensor([float(request.json["x"])])).tolist()
    return {"y": value, "model": request.model, "gone": list(GONE)}


@app.handler("/batch", models=("double", "triple"), batch=Batch(max_size=8, max_wait_s=0.05))
def together(context: dict[str, Any], requests: list[Request], model: Model) -> list[Any]:
    with torch.inference_mode():
        rows = model(torch.tensor([[float(request.json["x"])] for request in requests]))
    return [{"y": row[0], "batch": len(requests)} for row in rows.tolist()]


@app.handler("/hold", models="*", concurrency=8)
async def hold(context: dict[str, Any], request: Request, model: Model) -> Any:
    """Uses the model until the file that the caller names is there."""
    while not Path(request.json["until"]).exists():
        await asyncio.sleep(0.01)
    return model(torch.tensor([1.0])).tolist()


@app.handler("/stream", models=("double",))
def stream(context: dict[str, Any], request: Request, model: Model) -> Iterator[Any]:
    for x in range(request.json["to"]):
        yield model(torch.tensor([float(x)])).tolist()


@app.background("/later", models=("double", "slow", "broken"))
def later(context: dict[str, Any], request: Request, model: Model) -> Any:
    return {"y": model(torch.tensor([float(request.json["x"])])).tolist(), "model": request.model}


@app.stepper("/steps", models=("double", "triple", "broken"), max_size=2)
@app.stepper("/more", models=("double", "triple"), max_size=2)
class Steps:
    """Says ``x`` put through its model, once a step."""

    alive: ClassVar[weakref.WeakSet[Steps]] = weakref.WeakSet()
    sizes: ClassVar[dict[str, int]] = {}

    def __init__(self, context: dict[str, Any], model: Model) -> None:
        self.model = model
        self.alive.add(self)

    def admit(self, request: Request) -> dict[str, Any]:
        return {**request.json, "name": request.model}

    def step(self, states: list[dict[str, Any]]) -> list[StepOutcome]:
        (name,) = {state["name"] for state in states}
        self.sizes[name] = max(len(states), self.sizes.get(name, 0))
        with torch.inference_mode():
            rows = self.model(torch.tensor([[float(state["x"])] for state in states])).tolist()
        for state in states:
            state["steps"] -= 1
        return [
            StepOutcome(items=row, done=state["steps"] == 0)
            for row, state in zip(rows, states, strict=True)
        ]

    def evict(self, state: dict[str, Any]) -> None:
        state.clear()


@app.stepper("/unmade", models="*")
class Unmade(Steps):
    def __init__(self, context: dict[str, Any], model: Model) -> None:
        raise KeyError("cache")


@app.handler("/v1/embeddings")
def alive(context: dict[str, Any], request: Request) -> Any:
    return {"steppers": len(Steps.alive), "sizes": Steps.sizes}
