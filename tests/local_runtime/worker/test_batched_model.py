"""A real torch model behind the batcher: company changes no answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch

from local_runtime import Batch, Request
from local_runtime.app.runtime import Handler
from local_runtime.protocol.events import Done, Piece, Run
from local_runtime.worker.batcher import Batcher
from local_runtime.worker.engine import Engine
from local_runtime.worker.jobs import Job, Work
from local_runtime.worker.requests import assign_bucket

WIDTHS = (5, 17, 3, 8, 30, 12, 6, 9)


class Sink:
    """Hears nothing: the results come from ``run``."""

    def output(self, job: Job, event: Piece) -> None: ...

    def finished(self, work: Work, results: list[Done]) -> Work | None: ...


def padded_length(request: Request) -> int:
    """To the next power of two, at least 8."""
    return max(8, 1 << (len(request.json) - 1).bit_length())


def attend(context: dict[str, Any], requests: Sequence[Request]) -> list[Any]:
    """A transformer layer over padded token numbers; the mean of what is no padding."""
    width = padded_length(requests[0])
    ids = torch.zeros(len(requests), width, dtype=torch.long)
    for row, request in enumerate(requests):
        ids[row, : len(request.json)] = torch.tensor(request.json)
    padding = ids == 0
    with torch.inference_mode():
        hidden = context["embed"](ids)
        hidden = context["layer"](hidden, src_key_padding_mask=padding)
    hidden = hidden.masked_fill(padding.unsqueeze(-1), 0.0)
    return list(hidden.sum(1) / (~padding).sum(1, keepdim=True))


@pytest.fixture(scope="module")
def context() -> dict[str, Any]:
    torch.manual_seed(0)
    layer = torch.nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)
    return {"embed": torch.nn.Embedding(50, 32), "layer": layer.eval()}


def waiting(max_size: int) -> tuple[Handler, Batcher[Job]]:
    """The calls of this test, in their buckets."""
    batch = Batch(max_size=max_size, bucket=padded_length)
    handler = Handler(route="/", function=attend, batch=batch)
    batcher: Batcher[Job] = Batcher(max_size, 0.0)
    for id, width in enumerate(WIDTHS):
        ids = [1 + (id * 7 + at) % 49 for at in range(width)]
        job = Job(Run(id, "/", str(ids).encode()), handler, 0.0, lambda event: None)
        assert assign_bucket(job, padded_length) is None
        batcher.add(job, 0.0, job.bucket)
    return handler, batcher


async def answers(context: dict[str, Any], max_size: int) -> tuple[torch.Tensor, list[int]]:
    """Every call's answer by its number, and the sizes of the batches."""
    handler, batcher = waiting(max_size)
    engine, found, sizes = Engine(context, Sink()), {}, []
    while jobs := batcher.take(1.0):
        sizes.append(len(jobs))
        for done in await engine.run(Work(handler, jobs, 0.0)):
            assert done.ok, done.detail
            found[done.id] = torch.tensor([float(one) for one in _numbers(done.data)])
    return torch.stack([found[id] for id in range(len(WIDTHS))]), sizes


def _numbers(data: bytes) -> list[str]:
    return data.decode().strip("[]").split(",")


async def test_a_batch_gives_the_answers_that_each_call_gets_alone(
    context: dict[str, Any],
) -> None:
    """To one part in a hundred thousand, over padding buckets of several sizes."""
    alone, ones = await answers(context, 1)
    together, sizes = await answers(context, 8)
    assert ones == [1] * len(WIDTHS)
    assert sorted(sizes) == [2, 2, 4]
    assert torch.allclose(alone, together, atol=1e-5, rtol=1e-5)
