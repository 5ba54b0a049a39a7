"""What an app takes and gives, as OpenAPI 3.1: a page a handler, of its types and first words.

Source: https://spec.openapis.org/oas/v3.1.0
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import msgspec

from local_runtime.app.chats import ROUTE as CHAT
from local_runtime.app.form_parts import FORM
from local_runtime.app.inputs import has_files, is_pydantic, output_of
from local_runtime.app.runtime import Handler, Runtime

JSON = "application/json"
_SCHEMAS = "#/components/schemas/"
_BINARY = {"type": "string", "format": "binary"}
_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "code": {"type": ["string", "null"]},
                "param": {"type": ["string", "null"]},
            },
        }
    },
}
_PROMISE = {
    "type": "object",
    "required": ["job_id"],
    "properties": {"job_id": {"type": "string"}},
}


def openapi_of(app: Runtime) -> dict[str, Any]:
    """The document, ready for JSON. A type for which JSON's schema has no words is any value."""
    schemas: dict[str, Any] = {"Error": _ERROR}
    paths = {
        route: {"post": _operation(handler, schemas)} for route, handler in app.handlers.items()
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": app.name, "version": "1"},
        "paths": paths,
        "components": {"schemas": schemas},
    }


def _operation(handler: Handler, schemas: dict[str, Any]) -> dict[str, Any]:
    summary, _, more = _words(handler.function).partition("\n")
    operation: dict[str, Any] = {
        "summary": summary or handler.route,
        "requestBody": {"required": True, "content": _taken(handler, schemas)},
        "responses": {
            **_answered(handler, schemas),
            "4XX": _json("The call is refused.", {"$ref": f"{_SCHEMAS}Error"}),
            "5XX": _json("The call has failed.", {"$ref": f"{_SCHEMAS}Error"}),
        },
    }
    if more.strip():
        operation["description"] = inspect.cleandoc(more)
    return operation


def _taken(handler: Handler, schemas: dict[str, Any]) -> dict[str, Any]:
    if handler.input is None:
        content: dict[str, Any] = {"schema": {}}
        return {JSON: _with_example(content, handler)}
    type = handler.input.type
    if has_files(type):
        return {FORM: {"schema": _schema(type, schemas)}}
    return {JSON: _with_example({"schema": _schema(type, schemas)}, handler)}


def _with_example(content: dict[str, Any], handler: Handler) -> dict[str, Any]:
    """A chat's sample is the same for all; else it is what the app warms up with."""
    sample = handler.warmup
    if sample is None and handler.route == CHAT:
        sample = {"messages": [{"role": "user", "content": "Hello!"}]}
    return content if sample is None else {**content, "example": _builtin(sample)}


def _answered(handler: Handler, schemas: dict[str, Any]) -> dict[str, Any]:
    if handler.background:
        return {"202": _json("It is promised, and runs in the background.", _PROMISE)}
    type = output_of(handler.function)
    schema = {} if type is None else _schema(type, schemas)
    return {"200": _json("What the handler returns.", schema)}


def _json(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {JSON: {"schema": schema}}}


def _schema(type: Any, schemas: dict[str, Any]) -> dict[str, Any]:
    """The type's, with what it refers to put into ``schemas``."""
    try:
        found, more = _of_pydantic(type) if is_pydantic(type) else _of_plain(type)
    except Exception:  # a stranger's type may raise anything
        return {}
    schemas.update({name: one for name, one in more.items() if name not in ("File", "Error")})
    if "File" in more:
        schemas["File"] = _BINARY
    return found


def _of_plain(type: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    (found,), more = msgspec.json.schema_components((type,), ref_template=_SCHEMAS + "{name}")
    return found, more


def _of_pydantic(type: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    found = type.model_json_schema(ref_template=_SCHEMAS + "{model}")
    return found, found.pop("$defs", {})


def _words(function: Callable[..., Any]) -> str:
    return inspect.getdoc(function) or ""


def _builtin(value: Any) -> Any:
    """A sample as JSON has it; one of bytes or of a tensor is none."""
    try:
        return msgspec.to_builtins(value)
    except (TypeError, RecursionError):
        return None
