"""The types of the settings -> the few shapes that a value in YAML can have.

A ``msgspec.Struct`` is a schema: this room turns its annotations into shapes, which the reader
(``schema``) and the editors' schema (``json_schema``) both walk. Taken are str, int, float,
bool, None, Any, ``Literal``, structs, ``tuple[X, ...]``, ``list``, ``frozenset``,
``dict[str, X]``, unions of these, and in ``Annotated`` a ``Scalar``, ``OneOrMany``,
``Refers`` or ``msgspec.Meta`` (ge, gt, le, lt, min_length).
"""

from __future__ import annotations

import functools
import types
import typing
from collections.abc import Callable
from typing import Annotated, Any, Literal, Union

import msgspec

from adapters.settings import Scalar
from gateway.policy.syntax.scalars import OneOrMany, Refers


class TextShape(msgspec.Struct, frozen=True):
    """Any text."""

    refers: str = ""
    """The section of which the text must be a key."""


class NumberShape(msgspec.Struct, frozen=True):
    """A number within bounds; ``whole``: an integer."""

    whole: bool
    bounds: msgspec.Meta | None = None


class FlagShape(msgspec.Struct, frozen=True):
    """true or false."""


class NothingShape(msgspec.Struct, frozen=True):
    """null."""


class AnyShape(msgspec.Struct, frozen=True):
    """Whatever YAML can say."""


class UnreadShape(msgspec.Struct, frozen=True):
    """In ``Annotated[Any, Unread()]``: left as a node, for a reader of its own."""


class ChoiceShape(msgspec.Struct, frozen=True):
    """One of these values."""

    values: tuple[str | int, ...]


class ParsedShape(msgspec.Struct, frozen=True):
    """A text that the scalar's own parser reads."""

    scalar: Scalar
    bounds: msgspec.Meta | None = None


class ItemsShape(msgspec.Struct, frozen=True):
    """A list, of which ``build`` makes the value."""

    item: Shape
    build: Callable[[list[Any]], Any]
    least: int = 0
    alone: bool = False
    """One item may stand without the list."""


class TableShape(msgspec.Struct, frozen=True):
    """A mapping with keys of the writer's choice."""

    key: Shape
    value: Shape


class RecordShape(msgspec.Struct, frozen=True):
    """A mapping with the keys of a struct."""

    cls: type[msgspec.Struct]


class EitherShape(msgspec.Struct, frozen=True):
    """One of several shapes; the first that fits."""

    options: tuple[Shape, ...]


Shape = (
    TextShape
    | NumberShape
    | FlagShape
    | NothingShape
    | AnyShape
    | UnreadShape
    | ChoiceShape
    | ParsedShape
    | ItemsShape
    | TableShape
    | RecordShape
    | EitherShape
)


class Field(msgspec.Struct, frozen=True, kw_only=True):
    """One setting. ``key`` is its name in YAML, ``name`` that of the struct's field."""

    name: str
    key: str
    shape: Shape
    required: bool
    default: Any = None
    """What holds when it is left out; None also where it is required."""


@functools.cache
def fields_of(cls: type[msgspec.Struct]) -> dict[str, Field]:
    """By key in YAML. Raises TypeError when a type has no shape."""
    hints = typing.get_type_hints(cls, include_extras=True)
    return {
        field.encode_name: Field(
            name=field.name,
            key=field.encode_name,
            shape=shape_of(hints[field.name]),
            required=field.required,
            default=_default(field),
        )
        for field in msgspec.structs.fields(cls)
    }


def _default(field: msgspec.structs.FieldInfo) -> Any:
    if field.default is not msgspec.NODEFAULT:
        return field.default
    factory: Any = field.default_factory
    return None if factory is msgspec.NODEFAULT else factory()


_PLAIN: dict[Any, Shape] = {
    str: TextShape(),
    int: NumberShape(whole=True),
    float: NumberShape(whole=False),
    bool: FlagShape(),
    type(None): NothingShape(),
    Any: AnyShape(),
}


def shape_of(hint: Any) -> Shape:
    """The shape of a type. Raises TypeError for one that a policy cannot hold."""
    if hint in _PLAIN:
        return _PLAIN[hint]
    origin = typing.get_origin(hint)
    if origin is Annotated:
        return _annotated(*typing.get_args(hint))
    if origin is Literal:
        return ChoiceShape(typing.get_args(hint))
    if origin in (Union, types.UnionType):
        return EitherShape(tuple(shape_of(option) for option in typing.get_args(hint)))
    if origin in (tuple, list, frozenset):
        return ItemsShape(shape_of(typing.get_args(hint)[0]), origin)
    if origin is dict:
        key, value = typing.get_args(hint)
        return TableShape(shape_of(key), shape_of(value))
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return RecordShape(hint)
    raise TypeError(f"a policy cannot hold a setting of the type {hint!r}")


def _annotated(hint: Any, *marks: Any) -> Shape:
    """Marks in order: the innermost ``Annotated`` comes first."""
    shape: Shape | None = None
    for mark in marks:
        if isinstance(mark, Scalar):
            shape = ParsedShape(mark)
        elif isinstance(mark, OneOrMany):
            shape = ItemsShape(_item_of(mark, hint), tuple, alone=True)
        elif isinstance(mark, UnreadShape):
            shape = mark
        elif isinstance(mark, Refers):
            shape = TextShape(refers=mark.section)
        elif isinstance(mark, msgspec.Meta):
            shape = _bounded(shape or shape_of(hint), mark)
    return shape or shape_of(hint)


def _item_of(mark: OneOrMany, hint: Any) -> Shape:
    return shape_of(typing.get_args(hint)[0]) if mark.item is None else ParsedShape(mark.item)


def _bounded(shape: Shape, meta: msgspec.Meta) -> Shape:
    if isinstance(shape, ItemsShape):
        return msgspec.structs.replace(shape, least=meta.min_length or 0)
    if isinstance(shape, NumberShape | ParsedShape):
        return msgspec.structs.replace(shape, bounds=meta)
    return shape


def described(shape: Shape) -> str:
    """What would be right, to end the sentence "expected ..."."""
    if isinstance(shape, ParsedShape):
        return shape.scalar.expects
    if isinstance(shape, ChoiceShape):
        return f"one of {', '.join(str(value) for value in shape.values)}"
    if isinstance(shape, NumberShape):
        return "a whole number" if shape.whole else "a number"
    if isinstance(shape, ItemsShape):
        return f"{described(shape.item)} or a list of such" if shape.alone else "a list"
    if isinstance(shape, EitherShape):
        options = [o for o in shape.options if not isinstance(o, NothingShape)]
        return " or ".join(dict.fromkeys(described(option) for option in options))
    if isinstance(shape, TextShape):
        return f"a name in {shape.refers}" if shape.refers else "a string"
    if isinstance(shape, RecordShape | TableShape):
        return "a mapping (key: value)"
    return {FlagShape: "true or false", NothingShape: "nothing"}.get(type(shape), "a value")
