"""Cog's face on this runtime: a predictor for Cog runs with its import line changed.

    from local_runtime.cog import BasePredictor, Input, Path

    class Predictor(BasePredictor):
        def setup(self):
            self.mark = "!"

        def predict(self, text: str, times: int = Input(default=1, ge=1, le=5)) -> str:
            return text.upper() + self.mark * times

``python -m local_runtime predict.py:Predictor`` serves it. The names are those of Cog's reference
(https://cog.run/python/). A request is the object of inputs, as it is or below ``input``; the
answer is what ``predict`` returns, a file as a data URL; a predictor that yields streams. What is
not here: inputs that are files to be fetched by URL, an output of several fields, training.
"""

from __future__ import annotations

import base64
import inspect
import mimetypes
import pathlib
import re
import typing
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import msgspec

from local_runtime.app.request import InvalidInput, Request
from local_runtime.app.runtime import Runtime

__all__ = ["BasePredictor", "ConcatenateIterator", "Input", "Path"]

T_co = TypeVar("T_co", covariant=True)
_NONE: Any = inspect.Parameter.empty


class Path(pathlib.PosixPath):
    """A file: of a result, its bytes are the answer."""


class ConcatenateIterator(Iterator[T_co]):
    """What a predictor returns whose pieces are one text together."""


class _Input(msgspec.Struct, frozen=True):
    default: Any = _NONE
    ge: float | None = None
    le: float | None = None
    min_length: int | None = None
    max_length: int | None = None
    regex: str | None = None
    choices: list[Any] | None = None


def Input(default: Any = _NONE, *, description: str = "", **bounds: Any) -> Any:  # noqa: N802 - Cog's name
    """The default and the bounds of one input: ``ge``, ``le``, ``min_length``, ``max_length``,
    ``regex`` and ``choices``. Raises TypeError for another."""
    return _Input(default=default, **bounds)


class BasePredictor:
    """What a model's developer subclasses."""

    def setup(self) -> None:
        """Loads the model, once in each worker."""

    predict: Callable[..., Any]

    @classmethod
    def as_runtime(cls) -> Runtime:
        """The app."""
        predictor, app = cls(), Runtime(cls.__name__)

        def init() -> dict[str, Any]:
            predictor.setup()
            return {}

        app.init(init)
        inputs = _inputs_of(cls.predict)

        def pieces(context: Any, request: Request) -> Iterator[Any]:
            for piece in predictor.predict(**_checked(inputs, request.json)):
                yield _told(piece)

        def whole(context: Any, request: Request) -> Any:
            return _told(predictor.predict(**_checked(inputs, request.json)))

        streams = inspect.isgeneratorfunction(cls.predict)
        app.handler("/")(pieces if streams else whole)
        return app


def _inputs_of(predict: Callable[..., Any]) -> dict[str, tuple[Any, _Input]]:
    """Name -> its type, and its default and bounds."""
    types = typing.get_type_hints(predict)
    found = {}
    for name, parameter in list(inspect.signature(predict).parameters.items())[1:]:
        default = parameter.default
        declared = default if isinstance(default, _Input) else _Input(default=default)
        found[name] = (types.get(name, Any), declared)
    return found


def _checked(inputs: dict[str, tuple[Any, _Input]], asked: Any) -> dict[str, Any]:
    """The inputs as ``predict`` takes them. Raises InvalidInput naming the one at fault."""
    if isinstance(asked, dict) and asked.keys() == {"input"} and isinstance(asked["input"], dict):
        asked = asked["input"]
    if not isinstance(asked, dict):
        raise InvalidInput("the request is an object of inputs")
    for name in asked.keys() - inputs.keys():
        raise InvalidInput(f"{name!r} is no input; there are {', '.join(inputs)}", param=name)
    return {name: _value(name, *inputs[name], asked.get(name, _NONE)) for name in inputs}


def _value(name: str, kind: Any, declared: _Input, value: Any) -> Any:
    if value is _NONE:
        if declared.default is _NONE:
            raise InvalidInput(f"{name!r} is missing", param=name)
        return declared.default
    try:
        value = msgspec.convert(value, kind, strict=True)
    except msgspec.ValidationError as error:
        raise InvalidInput(f"{name!r}: {error}", param=name) from None
    fault = _fault(declared, value)
    if fault:
        raise InvalidInput(f"{name!r} {fault}, found {value!r}", param=name)
    return value


def _fault(declared: _Input, value: Any) -> str:
    if declared.ge is not None and value < declared.ge:
        return f"is at least {declared.ge}"
    if declared.le is not None and value > declared.le:
        return f"is at most {declared.le}"
    if declared.min_length is not None and len(value) < declared.min_length:
        return f"has at least {declared.min_length} characters"
    if declared.max_length is not None and len(value) > declared.max_length:
        return f"has at most {declared.max_length} characters"
    if declared.regex is not None and re.search(declared.regex, value) is None:
        return f"matches {declared.regex}"
    if declared.choices is not None and value not in declared.choices:
        return f"is one of {', '.join(map(str, declared.choices))}"
    return ""


def _told(value: Any) -> Any:
    """Files as data URLs, alone or in a list."""
    if isinstance(value, pathlib.Path):
        kind = mimetypes.guess_type(value.name)[0] or "application/octet-stream"
        return f"data:{kind};base64,{base64.b64encode(value.read_bytes()).decode()}"
    return [_told(one) for one in value] if isinstance(value, list) else value
