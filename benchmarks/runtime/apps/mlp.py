"""The one model of all contenders: 1.5 million parameters in four layers, one thread of torch.

It knows no serving framework, and is imported from the environment of each.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import torch

SIZES = (64, 1024, 1024, 384, 16)
"""64 numbers in, 16 out."""
HEAVY = (64, 2048, 4096, 2048, 16)
"""17 million parameters: the device is the bound, as with models that are worth serving."""


def build(sizes: Sequence[int] = SIZES) -> Any:
    """The model with seeded weights, ready to infer on one thread."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    layers: list[Any] = []
    for width, following in itertools.pairwise(sizes):
        layers += [torch.nn.Linear(width, following), torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-1]).eval()


def infer(model: Any, rows: Sequence[Sequence[float]]) -> list[list[float]]:
    """Rows of 64 numbers -> as many rows of 16, in one forward pass."""
    with torch.inference_mode():
        answer: list[list[float]] = model(torch.tensor(rows, dtype=torch.float32)).tolist()
    return answer
