"""A module gets the weights of its file, those alone, and its memory is the file's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from local_runtime.pytorch.weights import WrongWeights, files, hollow, load

CPU = torch.device("cpu")


def build() -> Any:
    """A module with a weight that two names share, and a buffer that no file holds."""
    module = torch.nn.Sequential(torch.nn.Embedding(10, 4), torch.nn.Linear(4, 10, bias=False))
    module[1].weight = module[0].weight
    module.register_buffer("scale", torch.tensor([3.0]), persistent=False)
    return module


@pytest.fixture(name="file")
def _file(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    save_file({"0.weight": torch.arange(40.0).reshape(10, 4)}, path)
    return path


def test_a_module_is_built_without_memory_and_filled_from_the_file(file: Path) -> None:
    with hollow():
        assert build()[0].weight.is_meta
    module = load(build, file, device=CPU)
    assert torch.equal(module[0].weight, torch.arange(40.0).reshape(10, 4))
    assert not module.training
    assert not build()[0].weight.is_meta


def test_a_shared_weight_stays_one_though_the_file_names_it_once(file: Path) -> None:
    module = load(build, file, device=CPU)
    assert module[1].weight.data_ptr() == module[0].weight.data_ptr()


def test_a_buffer_that_no_file_holds_is_computed_as_ever(file: Path) -> None:
    assert load(build, file, device=CPU).scale.tolist() == [3.0]


def test_on_the_cpu_the_parameters_are_the_mapped_file_itself(file: Path) -> None:
    """Nothing was copied: the kernel says that the weight's address lies in the file's mapping."""
    address = load_and_hold(file).data_ptr()
    maps = Path("/proc/self/maps").read_text().splitlines()
    held = [line for line in maps if str(file) in line]
    spans = [line.split()[0].split("-") for line in held]
    assert any(int(low, 16) <= address < int(high, 16) for low, high in spans)


HELD: list[Any] = []
"""Keeps modules whose mapping a test looks at."""


def load_and_hold(file: Path) -> torch.Tensor:
    HELD[:] = [load(build, file, device=CPU)]
    return HELD[0][0].weight


def test_floats_come_in_the_dtype_that_is_asked_for(file: Path) -> None:
    module = load(build, file, device=CPU, dtype=torch.bfloat16)
    assert module[0].weight.dtype is torch.bfloat16
    assert module.scale.dtype is torch.float32


def test_names_of_the_file_may_be_others(tmp_path: Path) -> None:
    file = tmp_path / "other.safetensors"
    save_file({"model.0.weight": torch.zeros(10, 4)}, file)
    module = load(build, file, device=CPU, rename=lambda name: name.removeprefix("model."))
    assert not module[0].weight.any()


def test_a_folder_may_hold_the_weights_in_parts(tmp_path: Path) -> None:
    save_file({"0.weight": torch.full((3, 2), 1.0)}, tmp_path / "part-1.safetensors")
    save_file({"0.bias": torch.full((3,), 2.0)}, tmp_path / "part-2.safetensors")
    weight_map = {"0.weight": "part-1.safetensors", "0.bias": "part-2.safetensors"}
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 36}, "weight_map": weight_map}))
    module = load(lambda: torch.nn.Sequential(torch.nn.Linear(2, 3)), tmp_path, device=CPU)
    assert module(torch.ones(1, 2)).tolist() == [[4, 4, 4]]


@pytest.mark.parametrize(
    ("held", "told"),
    [
        ({}, r"lacks: 0\.weight, 1\.weight"),
        ({"0.weight": (10, 4), "9.bias": (3,)}, r"has besides: 9\.bias"),
        ({"0.weight": (10, 5)}, r"differs in: 0\.weight \(10, 5\), not \(10, 4\)"),
    ],
)
def test_weights_of_another_model_are_refused_by_name(
    tmp_path: Path, held: dict[str, tuple[int, ...]], told: str
) -> None:
    file = tmp_path / "model.safetensors"
    save_file({name: torch.zeros(shape) for name, shape in held.items()}, file)
    with pytest.raises(WrongWeights, match=told):
        load(build, file, device=CPU)


def test_a_folder_without_weights_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"holds no model\.safetensors"):
        files(tmp_path)
