"""Weights from safetensors files straight onto the device.

A module is built without its weights taking memory, and the file's tensors become its parameters:
nothing is initialised only to be overwritten, and on the CPU nothing is copied either, since the
tensors are views of the mapped file (https://huggingface.co/docs/safetensors).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import torch
from safetensors import safe_open
from torch.nn.modules.module import register_module_parameter_registration_hook

M = TypeVar("M")
INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"


class WrongWeights(ValueError):
    """The files and the module are not of the same model."""


class _Index(msgspec.Struct):
    weight_map: dict[str, str]


def load(
    build: Callable[[], M],
    source: Path,
    *,
    device: torch.device,
    dtype: torch.dtype | None = None,
    rename: Callable[[str], str] = str,
) -> M:
    """The module that ``build`` makes, in evaluation mode, with the weights of ``source``.

    ``source`` is a safetensors file, or a folder with ``model.safetensors`` or the parts that
    ``model.safetensors.index.json`` names. ``rename`` turns a name in the file into the module's.
    Raises FileNotFoundError, and WrongWeights with the names that are missing or too many.
    """
    with hollow():
        module: Any = build()
    weights = {rename(name): tensor for name, tensor in tensors(source, device, dtype)}
    _share_tied(module, weights)
    _check(module, weights, source)
    module.load_state_dict(weights, assign=True)
    module.requires_grad_(False)
    built: M = module.to(device).eval()
    return built


@contextmanager
def hollow() -> Iterator[None]:
    """Modules made inside have parameters without memory, and buffers as ever: those that a
    module computes and no file holds are right. For all threads, so one builds at a time."""
    hook = register_module_parameter_registration_hook(_emptied)
    try:
        yield
    finally:
        hook.remove()


def tensors(
    source: Path, device: torch.device, dtype: torch.dtype | None = None
) -> Iterator[tuple[str, torch.Tensor]]:
    """The tensors of the files by name, one after another onto the device; floats as ``dtype``."""
    for file in files(source):
        with safe_open(file, framework="pt", device=str(device)) as opened:
            for name in opened.keys():  # noqa: SIM118 - it is no mapping
                tensor = opened.get_tensor(name)
                casts = dtype is not None and tensor.is_floating_point()
                yield name, tensor.to(dtype) if casts else tensor


def files(source: Path) -> list[Path]:
    """The safetensors files of a model. Raises FileNotFoundError."""
    if source.is_file():
        return [source]
    if (source / INDEX).is_file():
        index = msgspec.json.decode((source / INDEX).read_bytes(), type=_Index)
        return [source / name for name in sorted(set(index.weight_map.values()))]
    if (source / SINGLE).is_file():
        return [source / SINGLE]
    raise FileNotFoundError(f"{source} is no safetensors file and holds no {SINGLE}")


def _emptied(module: Any, name: str, parameter: Any) -> Any:
    if parameter is None or parameter.is_meta:
        return None
    return torch.nn.Parameter(parameter.to("meta"), requires_grad=parameter.requires_grad)


def _share_tied(module: Any, weights: dict[str, torch.Tensor]) -> None:
    """A file holds one of the names under which a module knows a shared weight."""
    names = defaultdict(list)
    for name, parameter in module.named_parameters(remove_duplicate=False):
        names[id(parameter)].append(name)
    for tied in names.values():
        held = [name for name in tied if name in weights]
        for name in tied if held else ():
            weights.setdefault(name, weights[held[0]])


def _check(module: Any, weights: dict[str, torch.Tensor], source: Path) -> None:
    wanted = module.state_dict()
    missing, surplus = sorted(wanted.keys() - weights), sorted(weights.keys() - wanted.keys())
    unlike = [
        f"{name} {tuple(weights[name].shape)}, not {tuple(held.shape)}"
        for name, held in wanted.items()
        if name in weights and weights[name].shape != held.shape
    ]
    for what, found in (("lacks", missing), ("has besides", surplus), ("differs in", unlike)):
        if found:
            more = f" and {len(found) - 3} more" if len(found) > 3 else ""
            raise WrongWeights(f"{source} {what}: {', '.join(found[:3])}{more}")
