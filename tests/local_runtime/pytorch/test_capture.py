"""The models of this project can be captured in a CUDA graph, as far as a CPU can tell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from benchmarks.gpu.models import DECODERS, ENCODERS, decoder, encoder
from examples import embeddings, images
from tests.local_runtime.pytorch.capture import not_recordable

CPU = torch.device("cpu")
Pass = tuple[Callable[..., Any], tuple[torch.Tensor, ...]]


def of_embeddings() -> Pass:
    model = embeddings.load("cpu")
    assert isinstance(model, embeddings.MiniLM)
    return model._forward, embeddings._padded([[1, 2, 3], [4]])


def of_images() -> Pass:
    model = images.load("cpu")
    return model._served._forward, (torch.zeros(2, 3, 32, 32, dtype=torch.uint8),)


def of_the_encoder() -> Pass:
    case = encoder(ENCODERS["tiny"], CPU, torch.float32)
    return case.forward(2), case.inputs(2)


def of_the_decoder() -> Pass:
    case = decoder(DECODERS["tiny"], CPU, torch.float32)
    return case.forward(2), case.inputs(2)


@pytest.mark.parametrize("model", [of_embeddings, of_images, of_the_encoder, of_the_decoder])
def test_a_pass_never_waits_for_a_value_of_the_device(model: Callable[[], Pass]) -> None:
    assert not_recordable(*model()) == set()


@pytest.mark.parametrize(
    ("forward", "found"),
    [
        (lambda x: x * float(x.sum()), {"aten.item"}),
        (lambda x: x if x.any() else -x, {"aten.is_nonzero"}),
        (lambda x: x + torch.tensor([1.0, 2.0]), {"aten.lift_fresh"}),
        (lambda x: x[x > 0], {"aten.nonzero"}),
    ],
)
def test_what_no_graph_can_hold_is_found(
    forward: Callable[[torch.Tensor], torch.Tensor], found: set[str]
) -> None:
    assert found & not_recordable(forward, (torch.ones(2),))
