"""What in a model a CUDA graph could not record, found without CUDA.

A capture fails where the CPU asks the device for a value or hands it one: both would have to
happen again at each replay. Such operations have names of their own on any device.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

FORBIDDEN = {
    "aten.item",
    "aten._local_scalar_dense",
    "aten.is_nonzero",
    "aten.equal",
    "aten.nonzero",
    "aten.masked_select",
    "aten.unique_dim",
    "aten._unique2",
    "aten.lift_fresh",
}
"""The last is a tensor made of values of Python's, which would be copied to the device."""


class _Names(TorchDispatchMode):  # type: ignore[misc]  # torch is Any to the type checker
    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        name = str(function).rpartition(".")[0]
        self.seen.add("aten.nonzero" if name == "aten.index" and _masked(args[1]) else name)
        return function(*args, **(kwargs or {}))


def _masked(indices: Sequence[torch.Tensor | None]) -> bool:
    """Indexing by a mask counts what is true before it knows how much to make."""
    return any(index is not None and index.dtype is torch.bool for index in indices)


def not_recordable(forward: Callable[..., Any], inputs: Sequence[torch.Tensor]) -> set[str]:
    """The operations of one pass that no graph can hold; the pass before it may do as it likes."""
    with torch.inference_mode():
        forward(*inputs)
        with _Names() as names:
            forward(*inputs)
    assert names.seen, "nothing was seen of the pass"
    found: set[str] = names.seen & FORBIDDEN
    return found
