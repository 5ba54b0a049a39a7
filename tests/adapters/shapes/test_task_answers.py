"""Of each task: what is its answer, what is none whatever it is, and what may stand beside it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.errors import BackendError, FailureClass
from adapters.http.answers import answer_in, plain_answer
from adapters.http.token_counts import LARGEST
from adapters.http.typed_events import typed_answer
from adapters.routes import OPENAI_ROUTES, PLAIN_ROUTES, TYPED_ROUTES
from adapters.shapes.task_answers import has_shape, has_vectors, is_answer
from adapters.types import Task, Usage
from tests.adapters.shapes.odd_figures import ODD, beside, fields_with

_MESSAGE = {"role": "assistant", "content": "hello there"}
_USED = {"prompt_tokens": 3, "completion_tokens": 2}
GOOD: dict[Task, list[Any]] = {
    "chat": [
        {"choices": [{"index": 0, "message": _MESSAGE, "finish_reason": "stop"}], "usage": _USED},
        {"choices": [{"message": {"role": "assistant", "content": None}}]},
        {"choices": [{"message": {}, "finish_reason": "length"}]},
    ],
    "completions": [{"choices": [{"text": "hi", "finish_reason": "stop"}], "usage": _USED}],
    "embeddings": [
        {"data": [{"embedding": [0.5, 1]}], "usage": {"prompt_tokens": 3}},
        {"data": [{"embedding": "AAAAPw=="}, {"embedding": [[1, 2], [3]]}]},
    ],
    "images": [{"data": [{"url": "a"}]}, {"data": [{"b64_json": "aGk="}, {"error": "no"}]}],
    "image_edits": [{"data": [{"b64_json": "aGk="}]}],
    "rerank": [
        {"results": [{"index": 0, "relevance_score": 0.5}]},
        {"data": [{"relevance_score": 0.5}]},
        [{"index": 1, "score": 0.5}],
    ],
    "score": [{"data": [{"index": 0, "score": 1}]}, {"scores": [[0.5]]}, [0.5, 0.25]],
    "moderations": [{"results": [{"flagged": False}]}, {"results": [{"categories": {}}]}],
    "tokenize": [{"tokens": [], "count": 0}, {"count": 2}, [[{"id": 1}]]],
    "transcriptions": [{"text": ""}, {"segments": []}],
    "translations": [{"text": "hello"}],
    "speech": [{"audio": "aGVsbG8="}],
    "messages": [
        {"type": "message", "content": [], "usage": {"output_tokens": 1}},
        {"content": [{"type": "text", "text": "hi"}]},
    ],
    "responses": [
        {"status": "completed", "output": [{"type": "message", "content": []}]},
        {"status": "queued", "output": []},
    ],
    "count_tokens": [{"input_tokens": 7}],
}
EACH = [(task, answer) for task, answers in GOOD.items() for answer in answers]
each_answer = pytest.mark.parametrize(("task", "answer"), EACH, ids=str)
each_task = pytest.mark.parametrize("task", GOOD)
NONE = [
    b"", b" \n", b"null", b"{}", b"[]", b"0", b"true", b'"ok"', b"OK", b"Internal Server Error",
    b"<html>no</html>", b"\xff\xfe", b"{", b"[" * 100_000,
    b'{"detail":"Not Found"}', b'{"message":"boom"}', b'{"success":false}', b'{"success":true}',
    b'{"status":"error"}', b'{"status":"ok"}', b'{"result":null}', b'{"errors":["x"]}',
    b'{"error":"boom"}', b'{"error":{"message":"boom"}}', b'{"error":true}', b'{"error":{}}',
    b'[{"error":{"code":500,"message":"x"}}]', b'{"code":500}', b'{"code":1001,"msg":"x"}',
    b'{"object":"error","message":"x","code":400}', b'{"errorMessage":"X","errorType":"Y"}',
    b'{"type":"error","error":{"type":"overloaded_error"}}', b'{"Message":"x","__type":"E"}',
    b'{"data":null}', b'{"data":[]}', b'{"data":{}}', b'{"data":[null]}', b'{"data":[{}]}',
    b'{"data":["x"]}', b'{"choices":null}', b'{"choices":[]}', b'{"choices":{}}',
    b'{"choices":[null]}', b'{"choices":[{}]}', b'{"choices":["x"]}', b'{"choices":[{"index":0}]}',
    b'{"choices":[{"message":null,"finish_reason":"stop"}]}', b'{"choices":[{"message":"hi"}]}',
    b'{"results":[]}', b'{"results":[null]}', b'{"results":["x"]}', b'{"text":null}',
    b'{"text":5}', b'{"content":"hi"}', b'{"content":null}', b'{"output":null}',
    b'{"output":"hi"}', b'{"tokens":null}', b'{"audio":null}', b'{"usage":{"prompt_tokens":3}}',
    b'{"input_tokens":"many"}', b'{"status":"failed","output":[]}',
]  # fmt: skip
"""Which are no answer to any task."""
HOLLOW: list[Any] = [
    None, "", False, 0, {}, [], [{}], "None", "null", "no error", "OK", "success",
    {"code": 0, "message": "success"}, {"code": 200, "message": "OK", "request_id": "r-1"},
    {"message": None, "type": ""}, {"code": "0", "msg": "Success."},
]  # fmt: skip
TELLING: list[Any] = ["boom", True, 1, ["x"], {"message": "x"}, {"code": 500}, {"code": "oops"}]


def read(task: Task, body: bytes) -> tuple[bytes, Usage]:
    """As a backend of OpenAI's protocol reads it."""
    if task in OPENAI_ROUTES:
        return answer_in(body, task, Usage())
    if task in TYPED_ROUTES:
        return typed_answer(body, task, Usage())
    return plain_answer(body, "application/json", task, Usage())


def refused(task: Task, body: bytes) -> BackendError:
    with pytest.raises(BackendError) as caught:
        read(task, body)
    return caught.value


def test_every_task_whose_answer_is_no_handlers_own_has_its_shape() -> None:
    tasks = {*OPENAI_ROUTES, *PLAIN_ROUTES, *TYPED_ROUTES, "count_tokens"}
    assert tasks == GOOD.keys()
    assert all(map(has_shape, GOOD))
    assert not has_shape("infer")


@each_answer
def test_an_answer_is_one_whatever_stands_beside_it(task: Task, answer: Any) -> None:
    body = json.dumps(answer).encode()
    assert read(task, body)[0] == body
    assert read(task, b"\xef\xbb\xbf" + body)[0] == body
    if isinstance(answer, dict):
        for error in HOLLOW:
            read(task, json.dumps({**answer, "error": error}).encode())


@each_answer
def test_numbers_that_are_none_are_null_and_decide_nothing(task: Task, answer: Any) -> None:
    beside = {"x": float("nan"), "y": [float("inf"), float("-inf")], "said": 'NaN "Infinity"'}
    if not isinstance(answer, dict):
        return
    body, _ = read(task, json.dumps({**answer, **beside}).encode()[:-1] + b',"z":1e999}')
    expected = {"x": None, "y": [None, None], "said": 'NaN "Infinity"', "z": float("inf")}
    assert json.loads(body) == {**answer, **expected}


@each_answer
def test_figures_that_no_reader_takes_decide_nothing(task: Task, answer: Any) -> None:
    for odd in ODD.values() if isinstance(answer, dict) else ():
        for field in fields_with(odd):
            body = beside(answer, field)
            given, used = read(task, body)
            assert given == body or odd == b"NaN"
            assert all((count or 0) < LARGEST for count in (used.input_tokens, used.output_tokens))


@pytest.mark.parametrize("odd", ["null", "NaN", "Infinity", '"0.5"', "true", "{}", '"NaN"'])
@pytest.mark.parametrize("at", [0, 1, 2])
@pytest.mark.parametrize("usage", ["", ', "usage": {"prompt_tokens": 3}'])
def test_a_vector_of_anything_but_numbers_is_none(odd: str, at: int, usage: str) -> None:
    """Wherever it stands in it, and in whichever vector."""
    numbers = ["0.5", "1", "-2e-3"]
    numbers[at] = odd
    for vectors in ([numbers], [["1", "2"], numbers]):
        data = ", ".join(f'{{"embedding": [{", ".join(one)}]}}' for one in vectors)
        body = f'{{"object": "list", "data": [{data}]{usage}}}'.encode()
        assert refused("embeddings", body).failure is FailureClass.MALFORMED


@each_answer
def test_an_error_beside_an_answer_is_what_came(task: Task, answer: Any) -> None:
    for error in TELLING if isinstance(answer, dict) else ():
        failure = refused(task, json.dumps({**answer, "error": error}).encode())
        assert failure.failure in (FailureClass.FAILED, FailureClass.MALFORMED)


@each_task
def test_what_is_no_answer_is_none(task: Task) -> None:
    for body in NONE:
        assert refused(task, body).failure is not None


@each_task
def test_an_answer_in_another_coding_than_utf_8_is_none(task: Task) -> None:
    body = json.dumps({**_dict_of(task), "said": "caf*"}).encode().replace(b"*", b"\xe9")
    assert refused(task, body).failure is FailureClass.MALFORMED


def _dict_of(task: Task) -> dict[str, Any]:
    return next(answer for answer in GOOD[task] if isinstance(answer, dict))


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from(["", "x", "error", "null"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["choices", "data", "message", "delta", "text", "error", "code", "results", "index",
                 "embedding", "url", "content", "output", "status", "detail", "score", "type"]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)  # fmt: skip


@given(value=json_values, task=st.sampled_from(sorted(GOOD)))
def test_whatever_json_comes_is_an_answer_by_its_shape_or_a_failure(value: Any, task: Task) -> None:
    body = json.dumps(value).encode()
    try:
        given_, _ = read(task, body)
    except BackendError:
        return
    assert is_answer(task, value)
    assert json.loads(given_) == value


@given(value=json_values)
def test_vectors_are_known_without_their_numbers(value: Any) -> None:
    if has_vectors(json.dumps(value).encode()):
        assert is_answer("embeddings", value)
