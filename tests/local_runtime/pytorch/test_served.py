"""A model in fixed shapes answers as it does without them, whatever comes in whatever order."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch

from local_runtime.pytorch import Buckets, Served, doubling
from local_runtime.pytorch.buckets import Shape
from local_runtime.pytorch.devices import PlainDevice, Recording, Tensors

CPU = torch.device("cpu")
VOCABULARY, WIDTH = 50, 16


class Staged(PlainDevice):
    """The CPU behind staging memory of its own, as a GPU is: a copy in each direction, and
    somebody has to wait for the last."""

    def __init__(self) -> None:
        super().__init__(CPU)
        self.apart = True
        self.recorded = 0
        self.finished = 0

    def record(self, function: Callable[[], Tensors]) -> Recording:
        self.recorded += 1
        return super().record(function)

    def finish(self) -> None:
        self.finished += 1


def encoder() -> Callable[..., torch.Tensor]:
    """(ids (n, t), mask (n, t)) -> (n, WIDTH): an encoder layer, and the mean of what is real."""
    torch.manual_seed(7)
    words = torch.nn.Embedding(VOCABULARY, WIDTH)
    layer = torch.nn.TransformerEncoderLayer(WIDTH, 4, 32, batch_first=True).eval()

    def forward(ids: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
        hidden = layer(words(ids), src_key_padding_mask=~real)
        weights = real.unsqueeze(-1).float()
        return (hidden * weights).sum(1) / weights.sum(1)

    return forward


def batch(rows: int, length: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    source = torch.Generator().manual_seed(1000 * rows + length + seed)
    ids = torch.randint(1, VOCABULARY, (rows, length), generator=source)
    lengths = torch.randint(1, length + 1, (rows,), generator=source)
    return ids, torch.arange(length) < lengths[:, None]


GRID = Buckets(rows=doubling(8), lengths=(4, 16))


@pytest.fixture(
    name="pair", scope="module", params=[PlainDevice(CPU), Staged()], ids=["at home", "staged"]
)
def _pair(request: pytest.FixtureRequest) -> tuple[Served, Served]:
    """The same model plain, and in the shapes of GRID as on a GPU."""
    forward = encoder()
    fixed = Served(forward, buckets=GRID, graphs=True, device=request.param)
    fixed.warm_up(*batch(2, 5))
    return Served(forward, device=CPU), fixed


@pytest.mark.parametrize("rows", [1, 2, 3, 7, 8])
@pytest.mark.parametrize("length", [1, 4, 5, 16])
def test_a_padded_batch_agrees_with_the_plain_model(
    pair: tuple[Served, Served], rows: int, length: int
) -> None:
    """To 1e-5, for rows and lengths on and between the sizes of the buckets."""
    plain, fixed = pair
    (wanted,), (got,) = plain(*batch(rows, length)), fixed(*batch(rows, length))
    assert got.shape == (rows, WIDTH)
    assert torch.allclose(got, wanted, atol=1e-5)


def test_nothing_of_an_earlier_batch_shows_in_a_later_one(pair: tuple[Served, Served]) -> None:
    """The same memory is used again and again: large before small, long before short."""
    plain, fixed = pair
    for seed, (rows, length) in enumerate([(8, 16), (5, 16), (7, 2), (1, 16), (6, 9), (1, 1)]):
        given = batch(rows, length, seed)
        assert torch.allclose(fixed(*given)[0], plain(*given)[0], atol=1e-5)


def test_a_result_is_the_callers_to_keep(pair: tuple[Served, Served]) -> None:
    """The next call writes into the same static memory, and not into what was handed out."""
    _, fixed = pair
    (first,) = fixed(*batch(4, 4))
    before = first.clone()
    fixed(*batch(4, 4, seed=1))
    assert torch.equal(first, before)


def test_every_shape_is_recorded_at_the_warm_up_and_none_later() -> None:
    device = Staged()
    served = Served(encoder(), buckets=GRID, graphs=True, device=device)
    served.warm_up(*batch(1, 3))
    assert served.shapes[0] == Shape(8, 16)
    assert device.recorded == len(served.shapes) == 8
    finished = device.finished
    served(*batch(3, 3))
    assert device.recorded == 8
    assert device.finished == finished + 1


def test_what_is_larger_than_every_shape_runs_as_it_is(pair: tuple[Served, Served]) -> None:
    plain, fixed = pair
    for rows, length in ((9, 4), (2, 17)):
        (got,) = fixed(*batch(rows, length))
        assert torch.allclose(got, plain(*batch(rows, length))[0], atol=1e-5)


@pytest.mark.parametrize("size", [(2, 5), (2, 3, 5)])
def test_inputs_unlike_the_sample_are_left_to_the_model(size: tuple[int, ...]) -> None:
    """Another dtype or another dimension is not forced into memory made for the sample's."""
    served = Served(lambda x: x + 1, device=CPU, buckets=Buckets(rows=(4,)), graphs=True)
    served.warm_up(torch.zeros(1, 3))
    (got,) = served(torch.ones(size, dtype=torch.float64))
    assert got.dtype is torch.float64
    assert torch.equal(got, torch.full(size, 2.0, dtype=torch.float64))


def test_a_narrower_input_is_not_padded_where_only_rows_are() -> None:
    """The model refuses it, as it does without fixed shapes; zeros would have an answer."""
    served = Served(torch.nn.Linear(8, 2), device=CPU, buckets=Buckets(rows=(4,)), graphs=True)
    served.warm_up(torch.zeros(1, 8))
    with pytest.raises(RuntimeError, match="shapes"):
        served(torch.ones(2, 5))


def test_padding_rows_are_copies_of_a_real_one() -> None:
    """A model that cannot bear zeros never sees a row that nobody sent."""
    seen = []

    def forward(x: torch.Tensor) -> torch.Tensor:
        seen.append(x.clone())
        return 1 / x

    served = Served(forward, device=CPU, buckets=Buckets(rows=(4,)), graphs=True)
    served.warm_up(torch.ones(1, 2))
    served(torch.tensor([[2.0, 4.0], [8.0, 16.0]]))
    assert seen[-1].tolist() == [[2, 4], [8, 16], [2, 4], [2, 4]]


def test_several_outputs_are_all_cut_to_the_batch() -> None:
    served = Served(lambda x: (x, x.sum(1)), device=CPU, buckets=Buckets(rows=(4,)), graphs=True)
    served.warm_up(torch.zeros(1, 2))
    rows, sums = served(torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]))
    assert rows.shape == (3, 2)
    assert sums.tolist() == [3, 7, 11]


def test_calls_from_several_threads_do_not_mix(pair: tuple[Served, Served]) -> None:
    """Each gets the answer to its own batch though they share the shape's memory."""
    plain, fixed = pair
    given = [batch(1 + seed % 4, 4, seed) for seed in range(40)]
    gate = threading.Barrier(4)

    def ask(part: int) -> list[torch.Tensor]:
        gate.wait(timeout=20)
        return [fixed(*each)[0] for each in given[part::4]]

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(ask, range(4)))
    for part, got in enumerate(answers):
        for each, answer in zip(given[part::4], got, strict=True):
            assert torch.allclose(answer, plain(*each)[0], atol=1e-5)


def test_no_result_carries_gradients() -> None:
    weight = torch.ones(2, requires_grad=True)
    for served in (
        Served(lambda x: x * weight, device=CPU),
        Served(lambda x: x * weight, device=CPU, buckets=Buckets(rows=(2,)), graphs=True),
    ):
        served.warm_up(torch.zeros(1, 2))
        assert not served(torch.ones(1, 2))[0].requires_grad


def test_autocast_computes_in_the_dtype_that_is_asked_for() -> None:
    weight = torch.randn(8, 8)
    served = Served(lambda x: x @ weight, device=CPU, autocast=torch.bfloat16)
    assert served(torch.randn(2, 8))[0].dtype is torch.bfloat16


def test_a_failing_batch_leaves_the_next_one_alone() -> None:
    served = Served(encoder(), device=CPU, buckets=GRID, graphs=True)
    served.warm_up(*batch(1, 3))
    ids, real = batch(2, 4)
    with pytest.raises(IndexError):
        served(ids + VOCABULARY, real)
    assert torch.allclose(served(ids, real)[0], Served(encoder(), device=CPU)(ids, real)[0])


class Compiler:
    """A backend of ``torch.compile`` that compiles nothing and counts for how many shapes."""

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def __call__(self, module: Any, examples: Sequence[Any]) -> Any:
        self.shapes.append(tuple(examples[-1].shape))
        return module.forward


def test_every_shape_is_compiled_once_and_nothing_is_compiled_for_a_caller() -> None:
    """Also beyond the number at which torch gives up; what fits no shape runs as it is."""
    compiler = Compiler()
    served = Served(
        lambda x: (x * 2).sum(1), device=CPU, buckets=Buckets(rows=SHAPES), compiled=compiler
    )
    served.warm_up(torch.zeros(1, 3))
    assert sorted(compiler.shapes) == [(rows, 3) for rows in SHAPES]
    for rows in (1, 5, 40, 41, 99):
        assert served(torch.ones(rows, 3))[0].tolist() == [6.0] * rows
    assert len(compiler.shapes) == len(SHAPES)


SHAPES = (1, 2, 3, 4, 6, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40)


def test_without_shapes_one_compilation_serves_every_size() -> None:
    compiler = Compiler()
    served = Served(lambda x: (x * 2).sum(1), device=CPU, compiled=compiler)
    for rows in (2, 5, 9, 33):
        assert served(torch.ones(rows, 3))[0].tolist() == [6.0] * rows
    assert len(compiler.shapes) == 1


def test_an_autocast_around_the_call_is_left_as_it_is() -> None:
    weight = torch.randn(8, 8)
    served = Served(lambda x: x @ weight, device=CPU)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert served(torch.randn(2, 8))[0].dtype is torch.bfloat16


def test_graphs_without_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="give buckets"):
        Served(encoder(), device=CPU, graphs=True)
