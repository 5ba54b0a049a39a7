"""What a handler says of its input holds for whoever calls it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict

import msgspec
import pytest
from pydantic import BaseModel

from local_runtime import Batch, File, InvalidInput, Request, Runtime
from local_runtime.app.inputs import InputType, input_of
from local_runtime.json_bodies import NotJson

if TYPE_CHECKING:
    from nowhere import Tensor  # type: ignore[import-not-found]


class OfStruct(msgspec.Struct):
    text: str
    times: int = 1


class OfPydantic(BaseModel):
    text: str
    times: int = 1


@dataclass
class OfDataclass:
    text: str
    times: int = 1


class OfDict(TypedDict, total=False):
    text: str
    times: int


def with_struct(context: Any, request: Request[OfStruct]) -> None: ...
def with_pydantic(context: Any, request: Request[OfPydantic]) -> None: ...
def with_dataclass(context: Any, request: Request[OfDataclass]) -> None: ...
async def in_a_batch(context: Any, requests: list[Request[OfStruct]]) -> None: ...
def with_nothing(context, request): ...  # type: ignore[no-untyped-def]
def with_any(context: Any, request: Request) -> None: ...
def with_a_checkers_word(context: Tensor, request: Request) -> Tensor: ...
def with_an_unknown(context: Any, request: Request[Tensor]) -> None: ...


class Stepping:
    def __init__(self, context: Any) -> None: ...
    def admit(self, request: Request[OfStruct]) -> None: ...
    def step(self, states: list[None]) -> list[None]:
        return states

    def evict(self, state: None) -> None: ...


def read(handler: Callable[..., Any]) -> InputType:
    found = input_of(handler)
    assert found is not None
    return found


TYPED = [with_struct, with_pydantic, with_dataclass, in_a_batch, Stepping]
NAMES = ["struct", "pydantic", "dataclass", "batch", "stepper"]


@pytest.mark.parametrize("handler", TYPED, ids=NAMES)
def test_a_body_becomes_the_type_that_the_handler_names(handler: Callable[..., Any]) -> None:
    value = read(handler).of_json(b'{"text": "a", "times": 3, "model": "studio"}')
    assert (value.text, value.times) == ("a", 3)


@pytest.mark.parametrize("handler", TYPED, ids=NAMES)
@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"{}", "text"),
        (b'{"text": 1}', "text"),
        (b'{"text": "a", "times": "x"}', "times"),
        (b'{"text": "a", "times": null}', "times"),
    ],
    ids=["missing", "another type", "a text for a number", "null"],
)
def test_what_does_not_fit_is_refused_with_its_field(
    handler: Callable[..., Any], body: bytes, param: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        read(handler).of_json(body)
    assert refused.value.param == param
    assert refused.value.message


@pytest.mark.parametrize("handler", TYPED, ids=NAMES)
@pytest.mark.parametrize("body", [b"[1]", b"3", b"null"], ids=["list", "number", "null"])
def test_another_value_than_an_object_is_refused(handler: Callable[..., Any], body: bytes) -> None:
    with pytest.raises(InvalidInput):
        read(handler).of_json(body)


@pytest.mark.parametrize("handler", TYPED, ids=NAMES)
@pytest.mark.parametrize("body", [b"", b"{", b'{"text": "\xff"}'], ids=["none", "cut", "bytes"])
def test_what_is_no_json_is_told_as_that(handler: Callable[..., Any], body: bytes) -> None:
    with pytest.raises(NotJson, match="not valid JSON"):
        read(handler).of_json(body)


def test_a_field_deep_inside_is_named_by_its_path() -> None:
    class Outer(msgspec.Struct):
        parts: list[OfStruct]

    def handler(context: Any, request: Any) -> None: ...

    handler.__annotations__["request"] = Request[Outer]
    with pytest.raises(InvalidInput) as refused:
        read(handler).of_json(b'{"parts": [{"text": "a"}, {"text": 2}]}')
    assert refused.value.param == "parts[...].text" or refused.value.param == "parts[1].text"


@pytest.mark.parametrize("handler", TYPED, ids=NAMES)
def test_the_texts_of_a_form_are_read_as_numbers_where_numbers_are_wanted(
    handler: Callable[..., Any],
) -> None:
    value = read(handler).of_fields({"text": "a", "times": "3"})
    assert (value.text, value.times) == ("a", 3)
    with pytest.raises(InvalidInput) as refused:
        read(handler).of_fields({"text": "a", "times": "x"})
    assert refused.value.param == "times"


def test_a_file_of_a_form_is_a_field_like_others() -> None:
    class WithFile(msgspec.Struct):
        image: File

    def handler(context: Any, request: Any) -> None: ...

    handler.__annotations__["request"] = Request[WithFile]
    file = File(data=b"abc", field="image")
    assert read(handler).of_fields({"image": file}).image is file


@pytest.mark.parametrize("handler", [with_nothing, with_any, with_a_checkers_word, len])
def test_a_handler_that_says_nothing_takes_any_json(handler: Callable[..., Any]) -> None:
    """Annotations that mean something to a type checker alone are no fault."""
    assert input_of(handler) is None


def test_a_type_that_is_not_known_there_is_told_with_its_place() -> None:
    with pytest.raises(ValueError, match=r"with_an_unknown \(.*test_inputs.py:\d+\).*not known"):
        input_of(with_an_unknown)


def test_a_type_that_json_cannot_be_read_into_is_refused_where_it_is_declared() -> None:
    app = Runtime("odd")

    def handler(context: Any, request: Any) -> None: ...

    handler.__annotations__["request"] = Request[int | OfStruct | OfDataclass]
    with pytest.raises(ValueError, match="its input cannot be read"):
        app.handler("/")(handler)


def test_a_type_is_recorded_with_the_handler() -> None:
    app = Runtime("typed")
    app.handler("/one")(with_struct)
    app.handler("/many", batch=Batch())(in_a_batch)
    app.stepper("/steps")(Stepping)
    app.handler("/any")(with_any)
    types = {route: one.input and one.input.type for route, one in app.handlers.items()}
    assert types == {"/one": OfStruct, "/many": OfStruct, "/steps": OfStruct, "/any": None}
