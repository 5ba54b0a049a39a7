"""Nodes + shapes -> values, noting every problem on the way instead of stopping at the first."""

from __future__ import annotations

import functools
import math
import operator
import re
from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import quote

import msgspec

from adapters.settings import HasExclusiveKeys, SettingError, UnfitSecret
from gateway.environment import lack_of, unfit
from gateway.policy.syntax.findings import BAD, OUTSIDE, Findings
from gateway.policy.syntax.nodes import ListNode, MapEntry, MapNode, Node, ScalarNode
from gateway.policy.syntax.problems import Mark, join, shortened
from gateway.policy.syntax.shapes import (
    AnyShape,
    ChoiceShape,
    EitherShape,
    Field,
    FlagShape,
    ItemsShape,
    NothingShape,
    NumberShape,
    ParsedShape,
    RecordShape,
    Shape,
    TableShape,
    TextShape,
    UnreadShape,
    described,
    fields_of,
)

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*|file:/[^{}\0]+)\}")
"""A variable of the environment, or the absolute path of a file."""
_WHOLE = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})\Z")
_DECIMAL = re.compile(
    r"[-+]?([0-9]{1,300}(\.[0-9]{0,300})?|\.[0-9]{1,300})([eE][-+]?[0-9]{1,3})?\Z"
)
_PERCENT = re.compile(r"[0-9]{1,3}(\.[0-9]{1,9})? ?%\Z")
_TYPES = {
    "null": "nothing",
    "bool": "the boolean",
    "int": "the number",
    "float": "the number",
    "timestamp": "the date",
}


def read(node: Node, shape: Shape, path: str, reading: Findings) -> Any:
    """The value, or BAD when at least one problem was noted."""
    if isinstance(shape, EitherShape):
        return _either(node, shape, path, reading)
    if isinstance(shape, ItemsShape):
        return _items(node, shape, path, reading)
    if isinstance(shape, AnyShape):
        return _anything(node, path, reading)
    if isinstance(shape, UnreadShape):
        return node
    if isinstance(shape, RecordShape | TableShape):
        if not isinstance(node, MapNode):
            return _unexpected(node, shape, path, reading)
        if isinstance(shape, TableShape):
            return _table(node, shape, path, reading)
        return _record(node, shape.cls, path, reading)
    if not isinstance(node, ScalarNode):
        return _unexpected(node, shape, path, reading)
    return _scalar(node, shape, path, reading)


def read_fields(
    node: MapNode, fields: Mapping[str, Field], path: str, reading: Findings
) -> dict[str, Any]:
    """Field -> value, or BAD, for those keys of ``node`` that ``fields`` names.

    Keys that ``fields`` does not name are left to ``check_keys``.
    """
    values: dict[str, Any] = {}
    for field in fields.values():
        entry = node.entries.get(field.key)
        if entry is not None:
            values[field.name] = _entry(entry, field.shape, join(path, field.key), reading)
        elif field.required:
            where = join(path, field.key)
            values[field.name] = reading.note(node.mark, where, "is required")
    return values


def check_keys(node: MapNode, allowed: Collection[str], path: str, reading: Findings) -> None:
    """Notes every key that is not allowed."""
    for key, entry in node.entries.items():
        if key not in allowed:
            reading.note(entry.mark, join(path, key), "unknown key", allowed, key)


def make(
    cls: type[msgspec.Struct],
    values: Mapping[str, Any],
    mark: Mark,
    path: str,
    reading: Findings,
) -> Any:
    """The struct, or BAD; it may refuse the keys that are given, by its ``misfits``, and its own
    ``__post_init__`` may refuse with a ValueError."""
    for error in cls.misfits(values.keys()) if issubclass(cls, HasExclusiveKeys) else ():
        values = {**values, error.keys[0]: _note_unfit(error, mark, path, reading)}
    if any(value is BAD for value in values.values()):
        return BAD
    try:
        return cls(**values)
    except SettingError as error:
        return _note_unfit(error, mark, path, reading)
    except ValueError as error:
        return reading.note(mark, path, str(error))


def _note_unfit(error: SettingError, mark: Mark, path: str, reading: Findings) -> Any:
    where = functools.reduce(join, error.keys, path)
    return reading.note(reading.places.get(where, mark), where, str(error))


def _entry(entry: MapEntry, shape: Shape, path: str, reading: Findings) -> Any:
    reading.places[path] = entry.mark
    return read(entry.value, shape, path, reading)


def _record(node: MapNode, cls: type[msgspec.Struct], path: str, reading: Findings) -> Any:
    fields = fields_of(cls)
    check_keys(node, fields, path, reading)
    return make(cls, read_fields(node, fields, path, reading), node.mark, path, reading)


def _table(node: MapNode, shape: TableShape, path: str, reading: Findings) -> Any:
    table: dict[str, Any] = {}
    for key, entry in node.entries.items():
        where = join(path, key)
        name = read(ScalarNode(entry.mark, key, plain=False), shape.key, where, reading)
        value = _entry(entry, shape.value, where, reading)
        table[key] = BAD if name is BAD else value
    return BAD if any(value is BAD for value in table.values()) else table


def _items(node: Node, shape: ItemsShape, path: str, reading: Findings) -> Any:
    if shape.alone and _could_be(node, shape.item):
        one = read(node, shape.item, path, reading)
        return BAD if one is BAD else shape.build([one])
    if not isinstance(node, ListNode):
        return _unexpected(node, shape, path, reading)
    if len(node.items) < shape.least:
        return reading.note(node.mark, path, f"needs at least {shape.least} entry")
    values = []
    for index, item in enumerate(node.items):
        where = f"{path}[{index}]"
        reading.places[where] = item.mark
        values.append(read(item, shape.item, where, reading))
    if any(value is BAD for value in values) or _repeats(node, shape, path, reading):
        return BAD
    return shape.build(values)


def _repeats(node: ListNode, shape: ItemsShape, path: str, reading: Findings) -> bool:
    """A name that a list of names holds twice is a slip of the pen."""
    if not (isinstance(shape.item, TextShape) and shape.item.refers):
        return False
    seen: set[str] = set()
    for index, item in enumerate(node.items):
        if isinstance(item, ScalarNode) and item.text in seen:
            reading.note(item.mark, f"{path}[{index}]", f"{item.text} is listed twice")
            return True
        seen.add(getattr(item, "text", ""))
    return False


def _either(node: Node, shape: EitherShape, path: str, reading: Findings) -> Any:
    """The first option that fits; where one alone could, its problems are the ones to tell."""
    options = [option for option in shape.options if _could_be(node, option)]
    meant = [option for option in options if _shares_a_key(node, option)]
    options = meant or options
    if len(options) == 1:
        return read(node, options[0], path, reading)
    outside: Findings | None = None
    for option in options:
        trial = reading.attempt()
        value = read(node, option, path, trial)
        if value is not BAD:
            reading.keep(trial)
            return value
        outside = trial if trial.is_outside else outside
    if outside is None:
        return _unexpected(node, shape, path, reading)
    reading.keep(outside)
    return BAD


def _shares_a_key(node: Node, shape: Shape) -> bool:
    """Whether a mapping has a key by which this one of several may be meant."""
    if not isinstance(node, MapNode) or not isinstance(shape, RecordShape):
        return False
    return not node.entries.keys().isdisjoint(fields_of(shape.cls))


def _could_be(node: Node, shape: Shape) -> bool:
    if isinstance(shape, AnyShape | UnreadShape | EitherShape):
        return True
    if isinstance(node, MapNode):
        return isinstance(shape, RecordShape | TableShape)
    if isinstance(node, ListNode):
        return isinstance(shape, ItemsShape)
    if isinstance(shape, NothingShape):
        return node.type == "null"
    return not isinstance(shape, RecordShape | TableShape) and (
        not isinstance(shape, ItemsShape) or shape.alone
    )


def _unexpected(node: Node, shape: Shape, path: str, reading: Findings) -> Any:
    message = f"expected {described(shape)}; found {found(node)}"
    if isinstance(shape, TextShape) and isinstance(node, ScalarNode) and node.type != "null":
        message += "; put it in quotes"
    return reading.note(node.mark, path, message)


def _scalar(node: ScalarNode, shape: Shape, path: str, reading: Findings) -> Any:
    if isinstance(shape, ParsedShape) and shape.scalar.secret:
        return _secret(node, shape, path, reading)
    if isinstance(shape, ParsedShape) and shape.scalar.hidden:
        node = _entered(node, shape.scalar.hidden, path, reading)
        if node is BAD:
            return BAD
    elif _VARIABLE.search(node.text):
        message = "only secrets are taken from the environment; write the value here"
        return reading.note(node.mark, path, message)
    if isinstance(shape, ParsedShape):
        return _parsed(node, shape, path, reading)
    if isinstance(shape, ChoiceShape):
        return _choice(node, shape, path, reading)
    if isinstance(shape, TextShape) and shape.refers:
        return _reference(node, shape.refers, path, reading)
    if "\0" in node.text:
        return reading.note(node.mark, path, "holds a NUL, which no name and no path can")
    value = _plain(node, shape)
    if value is BAD:
        return _unexpected(node, shape, path, reading)
    return value if _within(value, shape, node, path, reading) else BAD


def _secret(node: ScalarNode, shape: ParsedShape, path: str, reading: Findings) -> Any:
    match = _VARIABLE.fullmatch(node.text)
    if match is None:
        reading.secrets.add(node.text)
        return reading.note(node.mark, path, unfit(node.text))
    value = _from_environment(match[1], node, path, reading)
    if value is BAD:
        return BAD
    try:
        return shape.scalar.parse(value)
    except UnfitSecret as error:
        return reading.note(node.mark, path, f"the value of {match[1]}: {error}")
    except (ValueError, ArithmeticError):  # its words may quote the value
        message = f"the value of {match[1]} is not {shape.scalar.expects}"
        return reading.note(node.mark, path, message)


def _from_environment(name: str, node: ScalarNode, path: str, reading: Findings) -> Any:
    """The value, without the white space around it."""
    try:
        given = reading.environ.get(name)
    except OSError as error:
        named = "" if name.startswith("file:") else f", which {name}_FILE names,"
        message = f"{error.filename}{named} cannot be read: {error.strerror}"
        return reading.note(node.mark, path, message)
    value = (given or "").strip()
    if not value:
        if given is None and not name.startswith("file:"):
            return reading.note(node.mark, path, str(lack_of(reading.environ, name)))
        what = name if name.startswith("file:") else f"the environment variable {name}"
        return reading.note(node.mark, path, f"{what} is empty")
    reading.secrets.add(value)
    return value


def _entered(node: ScalarNode, pattern: str, path: str, reading: Findings) -> Any:
    """The node of a URL, with its password from the environment; ``pattern`` finds it."""
    match = re.search(pattern, node.text)
    start, end = match.span("hidden") if match else (0, 0)
    variable = _VARIABLE.fullmatch(node.text, start, end)
    if match is not None and variable is None:
        reading.secrets.add(match["hidden"])
        message = (
            "a password is not written here: write ${NAME} in its place, "
            "and put its value into the environment"
        )
        return reading.note(node.mark, path, message)
    if _VARIABLE.search(node.text[:start] + node.text[end:]):
        return reading.note(node.mark, path, "only the password is taken from the environment")
    if variable is None:
        return node
    value = _from_environment(variable[1], node, path, reading)
    if value is BAD:
        return BAD
    text = node.text[:start] + quote(value, safe="") + node.text[end:]
    return ScalarNode(node.mark, text, plain=node.plain)


def _parsed(node: ScalarNode, shape: ParsedShape, path: str, reading: Findings) -> Any:
    if node.type == "null":
        return _unexpected(node, shape, path, reading)
    try:
        value = shape.scalar.parse(node.text)
    except (ValueError, ArithmeticError) as error:
        message = f"{shortened(str(error), 160)}; expected {shape.scalar.expects}"
        return reading.note(node.mark, path, message)
    return value if _within(value, shape, node, path, reading) else BAD


def _choice(node: ScalarNode, shape: ChoiceShape, path: str, reading: Findings) -> Any:
    """YAML reads a bare ``off`` as false: where ``off`` is a choice, false says it too."""
    texts = {str(value): value for value in shape.values}
    if node.text in texts and (node.plain or isinstance(texts[node.text], str)):
        return texts[node.text]
    if node.type == "bool":
        word = "off" if node.text.lower() in ("false", "off", "no") else "on"
        if word in texts:
            return texts[word]
    message = f"{shortened(node.text)!r} is not one of the values"
    return reading.note(node.mark, path, message, texts, node.text)


def _reference(node: ScalarNode, section: str, path: str, reading: Findings) -> Any:
    names = reading.names.get(section, ())
    if node.text in names:
        return node.text
    message = f"no {shortened(node.text)!r} in {section}"
    return reading.note(node.mark, path, message, names, node.text)


def _plain(node: ScalarNode, shape: Shape) -> Any:
    if isinstance(shape, TextShape):
        return node.text if node.type == "str" else BAD
    if isinstance(shape, FlagShape):
        return node.text.lower() in ("true", "yes", "on") if node.type == "bool" else BAD
    if isinstance(shape, NothingShape):
        return None if node.type == "null" else BAD
    if not isinstance(shape, NumberShape) or not node.plain:
        return BAD
    if shape.whole:
        return int(node.text) if _WHOLE.match(node.text) else BAD
    number = float(node.text) if _DECIMAL.match(node.text) else math.inf
    return number if math.isfinite(number) else BAD


def _within(value: Any, shape: Shape, node: ScalarNode, path: str, reading: Findings) -> bool:
    bounds = shape.bounds if isinstance(shape, NumberShape | ParsedShape) else None
    if bounds is None:
        return True
    for word, bound, holds in (
        ("at least", bounds.ge, operator.ge),
        ("more than", bounds.gt, operator.gt),
        ("at most", bounds.le, operator.le),
        ("less than", bounds.lt, operator.lt),
    ):
        if bound is not None and not holds(value, bound):
            reading.note(node.mark, path, f"{OUTSIDE}{word} {bound}; found {shortened(node.text)}")
            return False
    return True


def _anything(node: Node, path: str, reading: Findings) -> Any:
    """Plain data, as YAML 1.2 (and so JSON) would read it."""
    if isinstance(node, MapNode):
        return _table(node, TableShape(TextShape(), AnyShape()), path, reading)
    if isinstance(node, ListNode):
        return _items(node, ItemsShape(AnyShape(), list), path, reading)
    if _VARIABLE.search(node.text):
        return _scalar(node, TextShape(), path, reading)
    for shape in (NothingShape(), FlagShape(), NumberShape(whole=True), NumberShape(whole=False)):
        if (value := _plain(node, shape)) is not BAD:
            return value
    return node.text


def found(node: Node) -> str:
    """What stands there, in a few words; a string is not repeated, it may be a secret."""
    if isinstance(node, MapNode):
        return "a mapping"
    if isinstance(node, ListNode):
        return "a list"
    word = _TYPES.get(node.type)
    if word is None and node.plain and _PERCENT.match(node.text):
        return f"{node.text}: write {node.text.rstrip('% ')}"
    if word is None:
        return "a string" if node.plain else "a string in quotes"
    return word if node.type == "null" else f"{word} {shortened(node.text)}"
