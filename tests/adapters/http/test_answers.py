"""Whether an answer of a good status is one, and what it says it used."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any, cast

import msgspec
import pytest

from adapters.errors import BackendError, FailureClass
from adapters.http.answers import answer_in, check_output
from adapters.http.opened import are_events, as_chunks, start_of
from adapters.http.response import Body
from adapters.types import Task, Usage

CHOICES = [{"index": 0, "message": {"role": "assistant", "content": "hello there"}}]
USED = Usage(exec_s=2.0)


def used(answer: Any, task: Task = "chat") -> Usage:
    body = answer if isinstance(answer, bytes) else msgspec.json.encode(answer)
    return answer_in(body, task, USED)[1]


def failure(answer: Any, task: Task = "chat") -> BackendError:
    with pytest.raises(BackendError) as caught:
        used(answer, task)
    assert caught.value.usage == USED
    return caught.value


@pytest.mark.parametrize("error", [None, "", {}, [], False, 0, {"message": None, "code": ""}, [{}]])
def test_an_error_that_says_nothing_is_none(error: Any) -> None:
    answer = {"choices": CHOICES, "error": error, "usage": {"prompt_tokens": 1}}
    assert used(answer).input_tokens == 1


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"error": {"message": "no room", "code": 503}}, FailureClass.OVERLOADED),
        ({"error": {"message": "no room", "code": "429"}}, FailureClass.OVERLOADED),
        ({"error": {"message": "bad", "type": "invalid_request_error"}}, FailureClass.INVALID),
        ({"error": "it broke"}, FailureClass.FAILED),
        ({"error": "no room", "code": 503}, FailureClass.OVERLOADED),
        ({"error": "busy", "error_type": "overloaded"}, FailureClass.OVERLOADED),
        ({"error": {"code": 500}, "choices": CHOICES}, FailureClass.FAILED),
        ({"object": "error", "message": "no such model", "code": 404}, FailureClass.GONE),
        ({"object": "error", "message": "x", "type": "NotFoundError"}, FailureClass.GONE),
        ({"message": "no such model", "code": 404}, FailureClass.GONE),
        ({"detail": "Not Found"}, FailureClass.MALFORMED),
    ],
)
def test_an_error_in_a_good_answer_is_what_its_code_or_type_says(
    answer: Any, expected: FailureClass
) -> None:
    assert failure(answer).failure is expected


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "empty"),
        (b"  \n", "empty"),
        (b"<html>maintenance</html>", "web page"),
        (b"OK", "not what was asked for"),
        (b"[]", "not what was asked for"),
        (b"null", "not what was asked for"),
        (b"{}", "not what was asked for"),
        (b'{"choices": null}', "not what was asked for"),
        (b'{"choices": [', "not what was asked for"),
        (b'{"choices": ' + b"[" * 100_000, "not what was asked for"),
        (b"\xff\xfe", "not what was asked for"),
    ],
)
def test_what_is_no_answer_is_named(body: bytes, words: str) -> None:
    assert words in failure(body).message


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"prompt_tokens": 12, "completion_tokens": 5, "total_tokens": 17}, (12, 5, None)),
        ({"prompt_tokens": 12.0, "completion_tokens": "5"}, (12, 5, None)),
        ({"input_tokens": 12, "output_tokens": 5}, (12, 5, None)),
        ({"prompt_tokens": 12, "total_tokens": 17}, (12, 5, None)),
        ({"completion_tokens": 5, "total_tokens": 17}, (12, 5, None)),
        ({"total_tokens": 1000}, (None, None, 1000)),
        ({"prompt_tokens": 32, "completion_tokens": 9, "total_tokens": 1041}, (32, 1009, None)),
        (
            {
                "prompt_tokens": 32,
                "completion_tokens": 9,
                "completion_tokens_details": {"reasoning_tokens": 1000},
            },
            (32, 1009, None),
        ),
        (
            {
                "prompt_tokens": 32,
                "completion_tokens": 1009,
                "total_tokens": 1041,
                "completion_tokens_details": {"reasoning_tokens": 1000},
            },
            (32, 1009, None),
        ),
        ({"prompt_tokens": -5, "completion_tokens": 1.5}, (None, None, None)),
        ({"prompt_tokens": {"cached": 3}, "completion_tokens": [1]}, (None, None, None)),
        ({"prompt_tokens": True, "completion_tokens": None}, (None, None, None)),
        ([], (None, None, None)),
        ("12", (None, None, None)),
        (None, (None, None, None)),
        (7, (None, None, None)),
    ],
)
def test_usage_of_any_shape_is_read_and_decides_nothing(usage: Any, expected: Any) -> None:
    body = msgspec.json.encode({"choices": CHOICES, "usage": usage})
    found = used(body)
    assert (found.input_tokens, found.output_tokens, found.total_tokens) == expected
    assert found.exec_s == 2.0


@pytest.mark.parametrize("figure", [b"1e400", b"1" * 400, b"-1e400", b"0.5"])
def test_a_figure_past_all_bounds_is_none(figure: bytes) -> None:
    body = b'{"choices":[{"text":""}],"usage":{"prompt_tokens":%b,"completion_tokens":2}}' % figure
    assert used(body).input_tokens is None


def test_the_text_of_an_answer_without_usage_is_counted() -> None:
    assert used({"choices": CHOICES}).text_tokens == 3
    assert used({"choices": [{"text": "x" * 400}]}, "completions").text_tokens == 100
    calls = [{"function": {"name": "f", "arguments": "x" * 39}}]
    message = {"content": None, "tool_calls": calls, "reasoning_content": "y" * 40}
    assert used({"choices": [{"message": message}]}).text_tokens == 21
    assert used({"data": [{"embedding": [0.5]}]}, "embeddings").text_tokens is None


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        (b"", "application/json", "empty"),
        (b"<html>", "text/html; charset=utf-8", "web page"),
        (b"<html>", "application/json", "web page"),
        (b'{"a":', "application/json", "no JSON"),
    ],
)
def test_an_output_is_held_to_what_it_says_it_is(body: bytes, kind: str, words: str) -> None:
    with pytest.raises(BackendError) as caught:
        check_output(body, kind)
    assert words in caught.value.message


@pytest.mark.parametrize("body", [b'{"error":"part of it"}', b"null", b"[1]"])
def test_an_output_in_json_is_the_handlers_own(body: bytes) -> None:
    check_output(body, "application/json")
    check_output(b"\xff\xd8", "image/jpeg")


@pytest.mark.parametrize(
    ("start", "events"),
    [
        (b"data: {}", True),
        (b"\xef\xbb\xbfdata:", True),
        (b"\n\nevent: x", True),
        (b": hello", True),
        (b"id:1", True),
        (b"", None),
        (b"\xef", None),
        (b"\xef\xbb", None),
        (b"\xef\xbb\xbf", None),
        (b"\xefdata:", False),
        (b"da", None),
        (b"\n", None),
        (b'{"choices"', False),
        (b"<html>", False),
        (b"database", None),
        (b"database error\n", False),
        (b"x-mine: 1\ndata: {}", True),
        (b"retry-later", None),
    ],
)
def test_a_stream_is_known_by_its_first_bytes(start: bytes, events: bool | None) -> None:
    assert are_events(start) is events


class Pieces:
    """A body that comes in these."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)

    async def read(self) -> bytes:
        return next(self._pieces, b"")


@pytest.mark.parametrize("size", [1, 2, 3, 5, 100])
@pytest.mark.parametrize("before", [b"", b"\xef\xbb\xbf", b"\n\r\n ", b"\xef\xbb\xbf\n\n"])
@pytest.mark.parametrize(("text", "events"), [(b"data: {}\n\n", True), (b'{"choices"', False)])
async def test_a_body_is_known_however_its_first_bytes_are_cut(
    before: bytes, text: bytes, events: bool, size: int
) -> None:
    whole = before + text
    pieces = Pieces(whole[at : at + size] for at in range(0, len(whole), size))
    start = await start_of(cast(Body, pieces))
    assert are_events(start) is events


async def test_blank_lines_that_keep_a_call_alive_are_not_kept() -> None:
    blank = (b"\n" * 1000 for _ in range(1000))
    start = await start_of(cast(Body, Pieces(itertools.chain(blank, [b"\nda", b"ta: {}"]))))
    assert start == b"data: {}"


def test_a_whole_answer_is_a_stream_of_its_own_content() -> None:
    message = {"role": "assistant", "content": "hi", "tool_calls": [{"id": "t"}]}
    usage = {"prompt_tokens": 3, "completion_tokens": 2}
    answer = {
        "id": "c1",
        "object": "chat.completion",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": usage,
    }
    data, told, done = as_chunks(msgspec.json.encode(answer), "chat", USED)
    assert msgspec.json.decode(data.data[6:]) == {
        "id": "c1",
        "object": "chat.completion.chunk",
        "choices": [
            {
                "index": 0,
                "delta": message | {"tool_calls": [{"index": 0, "id": "t"}]},
                "finish_reason": "stop",
            }
        ],
    }
    assert msgspec.json.decode(told.data[6:])["usage"] == usage
    assert (told.kind, done.kind) == ("usage", "done")
    assert done.usage is not None
    assert (done.usage.input_tokens, done.usage.output_tokens, done.usage.exec_s) == (3, 2, 2.0)


def test_a_whole_answer_without_usage_tells_its_stream_about_how_long_it_is() -> None:
    data, done = as_chunks(msgspec.json.encode({"choices": CHOICES}), "chat", USED)
    assert (data.tokens, done.kind) == (3, "done")


@pytest.mark.parametrize(
    ("stated", "tokens"),
    [
        ({"prompt_tokens": 12, "completion_tokens": 0, "total_tokens": 12}, 500),
        ({"prompt_tokens": 10, "completion_tokens": 2_000_000_000}, 500),
        ({"prompt_tokens": None, "completion_tokens": None}, 500),
        ([], 500),
        ({"prompt_tokens": 12, "completion_tokens": 7}, None),
    ],
    ids=str,
)
def test_text_is_counted_where_what_is_stated_is_no_count_of_it(
    stated: Any, tokens: int | None
) -> None:
    answer = {"choices": [{"message": {"content": "word " * 400}}], "usage": stated}
    assert used(answer).text_tokens == tokens


def test_an_error_keeps_the_usage_that_stands_beside_it() -> None:
    stated = {"prompt_tokens": 10, "completion_tokens": 500}
    with pytest.raises(BackendError) as caught:
        used({"error": {"message": "boom", "code": 500}, "usage": stated})
    assert caught.value.usage == Usage(exec_s=2.0, input_tokens=10, output_tokens=500)


@pytest.mark.parametrize(
    "choices", [b"[null]", b'["x"]', b"[[]]", b'[{"message": {"content": "caf\xe9"}}]']
)
def test_choices_that_are_none_are_no_stream_of_an_answer(choices: bytes) -> None:
    with pytest.raises(BackendError) as raised:
        as_chunks(b'{"object": "chat.completion", "choices": ' + choices + b"}", "chat", USED)
    assert raised.value.failure is FailureClass.MALFORMED
