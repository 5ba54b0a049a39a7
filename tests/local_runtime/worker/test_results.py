"""Values and exceptions of handlers, as they cross to the gateway."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from local_runtime import InvalidInput, Response
from local_runtime.app.runtime import Handler
from local_runtime.protocol.events import Run
from local_runtime.worker.jobs import Job
from local_runtime.worker.requests import headers_of, request_of
from local_runtime.worker.results import (
    ResultTooLarge,
    encode,
    failed,
    item,
    succeeded,
)

LIMIT = 1000


@pytest.mark.parametrize(
    ("value", "json"),
    [
        ({"a": [1, None, True]}, b'{"a":[1,null,true]}'),
        ("é", '"é"'.encode()),
        (np.array([[1.5, 2.0]]), b"[[1.5,2.0]]"),
        ({"n": np.float32(0.5)}, b'{"n":0.5}'),
        (float("nan"), b"null"),
    ],
)
def test_values_become_json_arrays_and_their_scalars_too(value: Any, json: bytes) -> None:
    """What a model returns is often no plain list."""
    assert encode(value) == json


def test_a_result_above_the_limit_is_refused_by_its_size() -> None:
    """Before it would break the connection."""
    assert len(encode("x" * 8, 10)) == 10
    with pytest.raises(ResultTooLarge, match="11 bytes; the limit is 10"):
        encode("x" * 9, 10)


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        ({"prompt_tokens": 3, "completion_tokens": 5}, (3, 5)),
        ({"prompt_tokens": 3, "total_tokens": 3}, (3, None)),
        ({"prompt_tokens": "3"}, (None, None)),
        ({"prompt_tokens": 10**30, "completion_tokens": -1}, (None, None)),
        (None, (None, None)),
    ],
)
def test_tokens_are_taken_where_the_result_states_them(
    usage: Any, tokens: tuple[int | None, int | None]
) -> None:
    """And never made up."""
    done = succeeded(1, {"usage": usage}, LIMIT)
    assert (done.input_tokens, done.output_tokens) == tokens


def test_only_an_item_without_choices_is_a_usage_item() -> None:
    """Some servers put usage beside the last piece of text: that one is the caller's."""
    usage = {"prompt_tokens": 1, "completion_tokens": 2}
    assert item(1, {"choices": [], "usage": usage}, LIMIT).usage
    beside = item(1, {"choices": [{}], "usage": usage}, LIMIT)
    assert (beside.usage, beside.output_tokens) == (False, 2)
    assert not item(1, {"choices": []}, LIMIT).usage
    assert not item(1, "text", LIMIT).usage


@pytest.mark.parametrize(
    ("body", "status", "kind", "message"),
    [
        ({"error": {"message": "no"}}, 422, "invalid", "no"),
        ({"error": "no"}, 400, "invalid", "no"),
        ({"message": "no"}, 404, "invalid", "no"),
        (None, 400, "invalid", "the model's handler answered with 400"),
        ({"error": "sick"}, 500, "failed", "sick"),
    ],
)
def test_a_response_with_a_status_of_an_error_is_one(
    body: Any, status: int, kind: str, message: str
) -> None:
    """In the words of its JSON, where it has any."""
    done = succeeded(1, Response(json=body, status=status), LIMIT)
    assert (done.ok, done.kind, done.message) == (False, kind, message)


def test_a_response_that_is_none_is_its_json() -> None:
    """Status 200 is the default."""
    assert succeeded(1, Response(json=[1]), LIMIT).data == b"[1]"


@pytest.mark.parametrize("status", [204, 304])
def test_a_status_without_a_body_has_none(status: int) -> None:
    """The caller would read the next answer out of it."""
    assert succeeded(1, Response(json={"a": 1}, status=status), LIMIT).data == b""


def test_a_status_that_is_no_answer_is_refused_where_it_is_made() -> None:
    with pytest.raises(ValueError, match="100 is no HTTP status"):
        Response(status=100)


def test_a_generator_is_no_body_where_only_a_whole_one_can_be_sent() -> None:
    """In a batch, say: the answer would be null without a word."""
    with pytest.raises(TypeError, match="make it whole"):
        succeeded(1, Response(body=(piece for piece in [b"a"])), LIMIT)


def test_a_header_that_comes_several_times_is_one_with_commas() -> None:
    pairs = (("x-thing", "1"), ("host", "here"), ("x-thing", "2"))
    assert headers_of(pairs) == {"x-thing": "1, 2", "host": "here"}


def test_exceptions_are_told_apart() -> None:
    """Refused or failed; only the latter has a traceback, and only in ``detail``."""
    refused = failed(1, InvalidInput("bad voice", param="voice"))
    assert (refused.kind, refused.message, refused.param) == ("invalid", "bad voice", "voice")
    broken = failed(1, KeyError("secret"))
    assert (broken.kind, broken.message) == ("failed", "the model's handler failed (KeyError)")
    assert "secret" in broken.detail


def test_a_request_carries_the_body_and_what_is_known_of_the_call() -> None:
    """Decoded once, in the worker."""
    run = Run(1, "/r", b'{"a":1}', "req-9", True)
    job = Job(run, Handler(route="/r", function=print), 0.0, lambda event: None)
    request = request_of(job)
    assert (request.json, request.id, request.route, request.stream) == (
        {"a": 1},
        "req-9",
        "/r",
        True,
    )
    assert not request.cancelled
    job.close()
    assert request.cancelled


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b'{"a":1} x', b"[" * 100_000])
def test_a_body_that_is_not_json_is_refused(body: bytes) -> None:
    """Whatever the way in which it is none."""
    job = Job(Run(1, "/", body), Handler(route="/", function=print), 0.0, lambda event: None)
    with pytest.raises(InvalidInput, match="not valid JSON"):
        request_of(job)
