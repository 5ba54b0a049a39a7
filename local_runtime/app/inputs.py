"""The type that a handler gives its input: ``Request[Ask]``, of msgspec, pydantic or the standard
library. What callers send is held to it before the handler runs."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import msgspec

from local_runtime.app.declared import place_of
from local_runtime.app.request import File, InvalidInput, Request
from local_runtime.json_bodies import not_json

_AT = re.compile(r"(?P<why>.*?) - at `\$\.?(?P<field>[^`]*)`\Z", re.S)
_MISSING = re.compile(r"Object missing required field `(?P<field>[^`]*)`")
REFERENCE = "#/components/schemas/{name}"


class InputType(Protocol):
    """One such type."""

    type: Any
    """For whoever describes it."""

    def of_json(self, body: bytes) -> Any:
        """The value of a body of JSON. Raises InvalidInput with the field at fault, and NotJson."""
        ...

    def of_fields(self, fields: Mapping[str, Any]) -> Any:
        """The value of a form's fields, which are texts and files: numbers are read from texts.
        Raises InvalidInput."""
        ...


class _Plain:
    """A struct of msgspec's, or a type of the standard library."""

    __slots__ = ("_decode", "type")

    def __init__(self, type: Any) -> None:
        """Raises TypeError for a type that JSON cannot be read into."""
        self.type = type
        self._decode = msgspec.json.Decoder(type).decode

    def of_json(self, body: bytes) -> Any:
        try:
            return self._decode(body)
        except msgspec.ValidationError as error:
            raise _invalid(str(error)) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise not_json(error) from None

    def of_fields(self, fields: Mapping[str, Any]) -> Any:
        try:
            return msgspec.convert(fields, self.type, strict=False)
        except msgspec.ValidationError as error:
            raise _invalid(str(error)) from None


class _Pydantic:
    """A model of pydantic's."""

    __slots__ = ("type",)

    def __init__(self, type: Any) -> None:
        self.type = type

    def of_json(self, body: bytes) -> Any:
        return _validated(self.type.model_validate_json, body)

    def of_fields(self, fields: Mapping[str, Any]) -> Any:
        return _validated(self.type.model_validate, dict(fields))


def input_of(function: Callable[..., Any]) -> InputType | None:
    """What a handler, or the ``admit`` of a stepper's class, says that its request's input is: the
    T of ``Request[T]`` or ``list[Request[T]]``; None where it says nothing.

    Raises ValueError, with the place, for a type that is not known there or cannot be read.
    """
    given = _second_parameter(getattr(function, "admit", function))
    if given is None:
        return None
    for annotation in (given, *typing.get_args(given)):
        if typing.get_origin(annotation) is Request:
            (type,) = typing.get_args(annotation)
            return (
                None if type is Any or isinstance(type, typing.TypeVar) else _read(function, type)
            )
    return None


def output_of(function: Callable[..., Any]) -> Any:
    """The type that a handler says it returns; None where it says none, or one that JSON's schema
    has no words for."""
    if inspect.isclass(function):
        return None
    return _hints(function).get("return")


def is_pydantic(type: Any) -> bool:
    """Whether it is a model of pydantic's, which is not imported for that."""
    return inspect.isclass(type) and hasattr(type, "model_validate_json")


def has_files(type: Any) -> bool:
    """Whether one of its fields is a file: it comes as a form."""
    try:
        hints = typing.get_type_hints(type)
    except (NameError, TypeError):
        return False
    return any(File in (one, *typing.get_args(one)) for one in hints.values())


def _read(function: Callable[..., Any], type: Any) -> InputType:
    try:
        return _Pydantic(type) if is_pydantic(type) else _Plain(type)
    except TypeError as error:
        raise ValueError(f"{place_of(function)}: its input cannot be read: {error}") from None


def _second_parameter(function: Callable[..., Any]) -> Any:
    try:
        names = list(inspect.signature(function).parameters)
    except (TypeError, ValueError):  # a function of C tells nothing of itself
        return None
    raw = getattr(function, "__annotations__", {})
    if len(names) < 2 or names[1] not in raw:
        return None
    found = _hints(function).get(names[1])
    if found is None and "Request[" in str(raw[names[1]]):
        text = f"the type in {raw[names[1]]!r} is not known where the handler is declared"
        raise ValueError(f"{place_of(function)}: {text}: define it above, in the module itself")
    return found


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    """Its annotations; those that mean nothing here, such as imports for a type checker alone,
    are not in it."""
    try:
        return typing.get_type_hints(function)
    except Exception:
        return {}


def _invalid(told: str) -> InvalidInput:
    """msgspec's words, and the field that they name."""
    at, missing = _AT.match(told), _MISSING.match(told)
    field = at["field"] if at else ""
    if missing:
        field = f"{field}.{missing['field']}" if field else missing["field"]
    return InvalidInput(told.replace(" - at `$.", " - at `"), param=field or None)


def _validated(read: Callable[[Any], Any], given: Any) -> Any:
    """pydantic's value. Its errors are ValueErrors that list what is wrong, each with its place."""
    try:
        return read(given)
    except ValueError as error:
        found = getattr(error, "errors", None)
        if not callable(found):
            raise
        first = found(include_url=False, include_context=False)[0]
    if first["type"] == "json_invalid":
        raise not_json(first["msg"])
    field = ".".join(str(part) for part in first["loc"])
    text = f"{first['msg']} - at `{field}`" if field else first["msg"]
    raise InvalidInput(text, param=field or None)
