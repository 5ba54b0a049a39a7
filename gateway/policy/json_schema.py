"""The JSON Schema (draft 2020-12) that gives editors completion, help and red underlines.

    python -m gateway.policy.json_schema          prints it
    python -m gateway.policy.json_schema FILE     writes it

Made from the same types as the reader, so that the two cannot disagree about a key.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from adapters import KINDS, load_kind
from gateway.policy.model import BackendCommon
from gateway.policy.reader import Document
from gateway.policy.sections.model_names import Alias
from gateway.policy.syntax.field_docs import field_docs
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
    fields_of,
)

Schema = dict[str, Any]


def settings_of_kinds() -> dict[str, type[msgspec.Struct]]:
    """Kind -> its settings, of the kinds that this package ships."""
    return {kind: load_kind(kind).Settings for kind in sorted(KINDS)}


def schema_of(kinds: Mapping[str, type[msgspec.Struct]]) -> Schema:
    """The schema of a policy whose backends are of these kinds."""
    definitions: dict[str, Schema] = {}
    root = _object((Document,), definitions)
    for kind, settings in kinds.items():
        definitions[f"backend-{kind}"] = _backend(kind, settings, definitions)
    definitions["backend"] = _any_backend(kinds)
    root["properties"]["backends"]["additionalProperties"] = {"$ref": "#/$defs/backend"}
    models = root["properties"]["models"]
    alias = _record(Alias, definitions)
    models["additionalProperties"] = {"anyOf": [models["additionalProperties"], alias]}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A Spillgate policy",
        **root,
        "$defs": dict(sorted(definitions.items())),
    }


def _any_backend(kinds: Mapping[str, object]) -> Schema:
    return {
        "type": "object",
        "required": ["kind"],
        "properties": {"kind": {"type": "string"}},
        "allOf": [
            {
                "if": {"properties": {"kind": {"const": kind}}, "required": ["kind"]},
                "then": {"$ref": f"#/$defs/backend-{kind}"},
            }
            for kind in kinds
        ],
    }


def _backend(kind: str, settings: type[msgspec.Struct], definitions: dict[str, Schema]) -> Schema:
    kind_field: Schema = {"const": kind, "description": "Which platform it is on."}
    schema = _object((settings, BackendCommon), definitions)
    schema["properties"] = {"kind": kind_field, **schema["properties"], "regions": _REGIONS}
    if needed := schema.pop("required", None):  # else each region has them
        schema["anyOf"] = [{"required": needed}, {"required": ["regions"]}]
    schema["required"] = ["kind"]
    return schema


_REGIONS: Schema = {
    "type": "object",
    "minProperties": 1,
    "additionalProperties": {"type": "object"},
    "description": "Region -> the keys that its endpoint has for itself.",
}


def _object(structs: Sequence[type[msgspec.Struct]], definitions: dict[str, Schema]) -> Schema:
    """With the keys of all of them."""
    fields = {key: field for one in structs for key, field in fields_of(one).items()}
    docs = {name: doc for one in structs for name, doc in field_docs(one).items()}
    required = [field.key for field in fields.values() if field.required]
    return {
        "type": "object",
        "properties": {
            field.key: _property(field, docs.get(field.name, ""), definitions)
            for field in fields.values()
        },
        **({"required": required} if required else {}),
        "additionalProperties": False,
    }


def _property(field: Field, said: str, definitions: dict[str, Schema]) -> Schema:
    schema = _schema(field.shape, definitions)
    doc = said.replace("``", "`")
    return {**schema, "description": doc} if doc else schema


def _schema(shape: Shape, definitions: dict[str, Schema]) -> Schema:
    if isinstance(shape, EitherShape):
        return {"anyOf": [_schema(option, definitions) for option in shape.options]}
    if isinstance(shape, RecordShape):
        return _record(shape.cls, definitions)
    if isinstance(shape, ItemsShape):
        return _list(shape, definitions)
    if isinstance(shape, TableShape):
        return _table(shape, definitions)
    return _leaf(shape)


def _record(cls: type[msgspec.Struct], definitions: dict[str, Schema]) -> Schema:
    name = cls.__qualname__
    if name not in definitions:
        definitions[name] = {}  # a struct that holds itself ends here
        schema = _object((cls,), definitions)
        doc = " ".join((cls.__doc__ or "").split()).replace("``", "`")
        definitions[name] = {**schema, "description": doc} if doc else schema
    return {"$ref": f"#/$defs/{name}"}


def _list(shape: ItemsShape, definitions: dict[str, Schema]) -> Schema:
    item = _schema(shape.item, definitions)
    several: Schema = {"type": "array", "items": item}
    if shape.least:
        several["minItems"] = shape.least
    return {"anyOf": [item, several]} if shape.alone else several


def _table(shape: TableShape, definitions: dict[str, Schema]) -> Schema:
    schema: Schema = {
        "type": "object",
        "additionalProperties": _schema(shape.value, definitions),
    }
    if isinstance(shape.key, ParsedShape):
        schema["propertyNames"] = {"pattern": shape.key.scalar.pattern}
    return schema


def _leaf(shape: Shape) -> Schema:
    if isinstance(shape, ParsedShape):
        return _parsed(shape)
    if isinstance(shape, ChoiceShape):
        return {"enum": [*shape.values, *([False] if "off" in shape.values else [])]}
    if isinstance(shape, NumberShape):
        return {"type": "integer" if shape.whole else "number", **_bounds(shape.bounds)}
    types = {TextShape: "string", FlagShape: "boolean", NothingShape: "null"}
    assert isinstance(shape, TextShape | FlagShape | NothingShape | AnyShape | UnreadShape)
    return {"type": types[type(shape)]} if type(shape) in types else {}


def _parsed(shape: ParsedShape) -> Schema:
    """A scalar whose pattern a bare number meets may be written as one."""
    text: Schema = {"type": "string", "pattern": shape.scalar.pattern}
    if re.match(shape.scalar.pattern, "1"):
        number = {"type": "number", "minimum": 0, **_bounds(shape.bounds)}
        return {"anyOf": [number, text], "title": shape.scalar.expects}
    return {**text, "title": shape.scalar.expects}


def _bounds(meta: msgspec.Meta | None) -> Schema:
    if meta is None:
        return {}
    pairs = {
        "minimum": meta.ge,
        "exclusiveMinimum": meta.gt,
        "maximum": meta.le,
        "exclusiveMaximum": meta.lt,
    }
    return {word: bound for word, bound in pairs.items() if bound is not None}


def rendered() -> str:
    """The whole schema as the file holds it."""
    return json.dumps(schema_of(settings_of_kinds()), indent=2, ensure_ascii=False) + "\n"


def main(arguments: list[str]) -> int:
    """Prints the schema, or writes it to the file that is named."""
    if arguments:
        Path(arguments[0]).write_text(rendered(), encoding="utf-8")
    else:
        sys.stdout.write(rendered())
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
