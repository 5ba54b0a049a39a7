"""What models are declared to occupy, and whether they can fit. Pure.

An app declares its models, whoever starts its workers may say more: a policy's word counts before
the app's. It travels as JSON on the workers' command line.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,9})?)\s*(B|KB|KiB|MB|MiB|GB|GiB)?\Z")
_UNITS = {
    "": 1,
    "B": 1,
    "KB": 1000,
    "KiB": 1024,
    "MB": 1000**2,
    "MiB": 1024**2,
    "GB": 1000**3,
    "GiB": 1024**3,
}


class ModelSizes(msgspec.Struct, frozen=True, kw_only=True):
    """What one model occupies while it is loaded."""

    memory: int
    """Bytes of the device: its weights, and what it needs to run."""
    pin: bool = False
    """It is loaded when the worker starts, and stays."""


class Unloadable(msgspec.Struct, frozen=True):
    """A model that can never be loaded, and why."""

    model: str
    field: str
    """The declaration at fault: ``memory`` or ``pin``."""
    message: str


def bytes_of(size: int | str) -> int:
    """'4GiB', '500 MB' or a number of bytes -> bytes, above 0. Raises ValueError."""
    match = _SIZE.match(str(size).strip())
    number = int(float(match[1]) * _UNITS[match[2] or ""]) if match else 0
    if isinstance(size, bool) or number < 1:
        raise ValueError(f"{size!r} is not a size such as 512MiB or 4GiB")
    return number


def names_of(models: str | Sequence[str]) -> tuple[str, ...]:
    """One name or several, as a handler's ``models`` says them."""
    return (models,) if isinstance(models, str) else tuple(models)


def model_in(body: Any) -> str:
    """The model that a call's body names, as OpenAI's bodies do; "" where it names none."""
    name = body.get("model") if isinstance(body, dict) else None
    return name if isinstance(name, str) else ""


def unknown_model(route: str, name: str) -> str:
    """What a caller is told who names a model that the route does not have, or none."""
    return f"{route} has no model {name[:80]!r}" if name else "the call names no model"


def misfit(models: Mapping[str, ModelSizes], capacity: float) -> Unloadable | None:
    """The first model that does not fit in ``capacity`` bytes: alone, together with the pinned
    ones before it, or beside all pinned ones. None: each can be loaded."""
    pinned = 0
    for name, model in models.items():
        if model.memory > capacity:
            text = f"{in_words(model.memory)} cannot fit in a memory of {in_words(capacity)}"
            return Unloadable(name, "memory", text)
        pinned += model.memory if model.pin else 0
        if model.pin and pinned > capacity:
            text = f"with it the pinned models take {in_words(pinned)} of {in_words(capacity)}"
            return Unloadable(name, "pin", text)
    for name, model in models.items():
        if not model.pin and model.memory > capacity - pinned:
            left = in_words(capacity - pinned)
            text = f"{in_words(model.memory)} cannot fit: the pinned models leave {left}"
            return Unloadable(name, "memory", text)
    return None


def in_words(size: float) -> str:
    """24 GiB, 1.5 GiB, 300 MiB, 12 B; rounded up, so that what is too large looks so."""
    for unit in ("GiB", "MiB", "KiB"):
        if size >= _UNITS[unit]:
            return f"{-(-size * 1000 // _UNITS[unit]) / 1000:g} {unit}"
    return f"{size:g} B"


def to_json(models: Mapping[str, ModelSizes]) -> str:
    """The sizes by the model's name, as a worker's command line takes them."""
    return msgspec.json.encode(models).decode()


def from_json(text: str) -> dict[str, ModelSizes]:
    """What ``to_json`` wrote; "" is no model. Raises ValueError for anything else."""
    models: Any = msgspec.json.decode(text or "{}", type=dict[str, ModelSizes])
    return dict(models)
