"""What an app says of itself is OpenAPI, and true."""

from __future__ import annotations

from typing import Any

import jsonschema
import openapi_spec_validator

from local_runtime import Request, Runtime
from local_runtime.app.openapi import openapi_of
from local_runtime.worker.startup import MOST_DESCRIBED, described
from tests.programs import studio

DOCUMENT = openapi_of(studio.app)


def content(route: str, media: str = "application/json") -> Any:
    return DOCUMENT["paths"][route]["post"]["requestBody"]["content"][media]


def test_it_is_valid() -> None:
    openapi_spec_validator.validate(DOCUMENT)
    assert set(DOCUMENT["paths"]) == set(studio.app.handlers)


def test_an_input_has_its_schema_its_words_and_its_sample() -> None:
    operation = DOCUMENT["paths"]["/"]["post"]
    assert (operation["summary"], operation["description"]) == (
        "Says a text louder.",
        "As often as one likes.",
    )
    assert content("/")["example"] == {"text": "hello"}
    schema = DOCUMENT["components"]["schemas"]["Ask"]
    jsonschema.validate({"text": "a"}, schema)
    assert schema["required"] == ["text"]
    answer = operation["responses"]["200"]["content"]["application/json"]["schema"]
    assert answer == {"$ref": "#/components/schemas/Answer"}


def test_a_model_of_pydantics_has_its_schema_too() -> None:
    assert content("/sum")["schema"]["required"] == ["a", "b"]


def test_an_input_with_a_file_is_a_form() -> None:
    reference = content("/v1/images/edits", "multipart/form-data")["schema"]["$ref"]
    assert reference == "#/components/schemas/Edit"
    assert DOCUMENT["components"]["schemas"]["File"]["format"] == "binary"


def test_a_background_handler_answers_with_a_promise() -> None:
    assert "202" in DOCUMENT["paths"]["/v1/later"]["post"]["responses"]


def test_a_type_without_a_schema_is_any_value() -> None:
    app = Runtime("odd")

    class Odd:
        pass

    @app.handler("/", warmup={"n": 1})
    def handler(context: Any, request: Request) -> Odd:
        return Odd()

    assert openapi_of(app)["paths"]["/"]["post"]["responses"]["200"]["content"] == {
        "application/json": {"schema": {}}
    }


def test_a_description_that_is_too_large_is_left_out() -> None:
    app = Runtime("large")

    @app.handler("/", warmup=["x" * MOST_DESCRIBED])
    def handler(context: Any, request: Request) -> None: ...

    assert described(app) == b""
    assert described(studio.app)
