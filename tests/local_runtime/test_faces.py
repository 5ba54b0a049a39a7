"""Apps written for LitServe and for Cog, with another import line: what their handlers answer."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from local_runtime import InvalidInput, Request, Runtime
from local_runtime import litserve as ls
from local_runtime.app.find_app import load_app
from local_runtime.cog import BasePredictor, ConcatenateIterator, Input
from local_runtime.cog import Path as File


def asked(app: Runtime, body: Any, route: str = "/") -> Any:
    assert app.init_function is not None
    return app.handlers[route].function(app.init_function(), Request(json=body))


# --- LitServe -------------------------------------------------------------------------------------


class Squares(ls.LitAPI):
    def setup(self, device: str) -> None:
        self.power = 2

    def decode_request(self, request: Any) -> Any:
        return request["input"]

    def predict(self, x: Any) -> Any:
        return [one**self.power for one in x] if isinstance(x, list) else x**self.power

    def encode_response(self, output: Any) -> Any:
        return {"output": output}


class Letters(ls.LitAPI):
    def predict(self, x: Any) -> Iterator[str]:
        yield from x["text"]

    def encode_response(self, output: Any) -> Iterator[Any]:
        for letter in output:
            yield {"letter": letter}


def test_an_api_of_litserve_answers_at_its_path() -> None:
    app = ls.LitServer(Squares(), timeout=False).as_runtime()
    assert asked(app, {"input": 4}, "/predict") == {"output": 16}
    assert asked(app, {"input": 5}) == {"output": 25}
    assert app.handlers["/"].timeout_s == 600.0


def test_its_batches_are_of_requests_that_come_together() -> None:
    app = ls.LitServer(Squares(max_batch_size=8, batch_timeout=0.05)).as_runtime()
    handler = app.handlers["/predict"]
    assert handler.batch is not None
    assert (handler.batch.max_size, handler.batch.max_wait_s) == (8, 0.05)
    assert app.init_function is not None
    requests = [Request(json={"input": n}) for n in (1, 2, 3)]
    answers = handler.function(app.init_function(), requests)
    assert answers == [{"output": 1}, {"output": 4}, {"output": 9}]


def test_its_streams_are_streams() -> None:
    app = ls.LitServer(Letters(stream=True)).as_runtime()
    assert list(asked(app, {"text": "hi"})) == [{"letter": "h"}, {"letter": "i"}]
    with pytest.raises(ValueError, match="streams are not batched"):
        ls.LitServer(Letters(stream=True, max_batch_size=2)).as_runtime()


def test_what_is_not_here_is_said_and_not_passed_over() -> None:
    with pytest.raises(TypeError, match="not here: spec"):
        Squares(spec="openai")


# --- Cog ------------------------------------------------------------------------------------------


class Shout(BasePredictor):
    def setup(self) -> None:
        self.mark = "!"

    def predict(
        self,
        text: str = Input(description="what", min_length=1),
        times: int = Input(default=1, ge=1, le=5),
        how: str = Input(default="loud", choices=["loud", "soft"]),
    ) -> str:
        said = text.upper() if how == "loud" else text.lower()
        return said + self.mark * times


class Spell(BasePredictor):
    def predict(self, text: str) -> ConcatenateIterator[str]:  # type: ignore[misc]
        yield from text


class Draw(BasePredictor):
    def predict(self, folder: str) -> File:
        file = File(folder) / "dot.png"
        file.write_bytes(b"png")
        return file


def test_a_predictor_of_cog_answers_with_and_without_the_envelope() -> None:
    app = Shout.as_runtime()
    assert asked(app, {"text": "hi"}) == "HI!"
    assert asked(app, {"input": {"text": "Hi", "times": 3, "how": "soft"}}) == "hi!!!"
    assert list(asked(Spell.as_runtime(), {"text": "ab"})) == ["a", "b"]


@pytest.mark.parametrize(
    ("body", "param", "told"),
    [
        ({}, "text", "'text' is missing"),
        ({"text": ""}, "text", "at least 1 characters"),
        ({"text": 1}, "text", "Expected `str`"),
        ({"text": "a", "times": 9}, "times", "at most 5, found 9"),
        ({"text": "a", "how": "long"}, "how", "one of loud, soft"),
        ({"text": "a", "temperature": 1}, "temperature", "there are text, times, how"),
        ([], None, "an object of inputs"),
    ],
    ids=["missing", "short", "type", "large", "choice", "unknown", "list"],
)
def test_an_input_that_does_not_fit_is_refused_by_its_name(
    body: Any, param: str | None, told: str
) -> None:
    with pytest.raises(InvalidInput, match=told) as raised:
        asked(Shout.as_runtime(), body)
    assert raised.value.param == param


def test_a_file_is_a_data_url(tmp_path: Path) -> None:
    answer = asked(Draw.as_runtime(), {"folder": str(tmp_path)})
    assert answer == "data:image/png;base64,cG5n"


# --- words as OpenAI's chat -----------------------------------------------------------------------

CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


def chat_of(function: Callable[..., Any]) -> Callable[..., Any]:
    app = Runtime("chat")
    app.chat()(function)
    return app.handlers["/v1/chat/completions"].function


def words(context: Any, request: Request) -> Iterator[str]:
    yield "good "
    yield "day"


def test_words_are_a_whole_completion_or_its_chunks() -> None:
    answer = chat_of(words)
    whole = answer(None, Request(json=CHAT, id="7"))
    assert (whole["object"], whole["model"], whole["id"]) == ("chat.completion", "m", "chatcmpl-7")
    assert whole["choices"][0]["message"] == {"role": "assistant", "content": "good day"}
    chunks = list(answer(None, Request(json={**CHAT, "stream": True})))
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    said = [chunk["choices"][0]["delta"].get("content") for chunk in chunks]
    assert said == ["", "good ", "day", None]
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"


async def test_words_of_an_async_handler_too() -> None:
    async def say(context: Any, request: Request) -> Any:
        for word in ("a", "b"):
            yield word

    answer = chat_of(say)
    whole = await answer(None, Request(json=CHAT))
    assert whole["choices"][0]["message"]["content"] == "ab"
    chunks = [chunk async for chunk in await answer(None, Request(json={**CHAT, "stream": True}))]
    assert len(chunks) == 4


def test_a_text_is_a_completion_of_one_word() -> None:
    whole = chat_of(lambda context, request: "hello")(None, Request(json=CHAT))
    assert whole["choices"][0]["message"]["content"] == "hello"


# --- by name --------------------------------------------------------------------------------------


def test_a_class_is_an_app_and_what_the_program_gave_to_it_reaches_its_workers(
    tmp_path: Path,
) -> None:
    file = tmp_path / "squares_app.py"
    file.write_text("from tests.local_runtime.test_faces import Shout, Squares\n")
    assert asked(load_app(f"{file}:Shout"), {"text": "a"}) == "A!"
    os.environ["SPILLGATE_LITSERVE"] = '{"max_batch_size": 4}'
    try:
        handler = load_app(f"{file}:Squares").handlers["/predict"]
    finally:
        del os.environ["SPILLGATE_LITSERVE"]
    assert handler.batch is not None
    assert handler.batch.max_size == 4
