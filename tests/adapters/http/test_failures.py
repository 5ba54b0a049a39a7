"""What a backend's refusal is taken to mean."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from adapters.errors import FailureClass, Fault
from adapters.http.failures import (
    MAX_MESSAGE,
    asked_by,
    classify,
    classify_error,
    clean,
    failure_in,
    refusal,
)
from adapters.http.response import retry_after
from adapters.settings import Secret
from adapters.shapes.error_words import MAX_WORD, message_of

F = FailureClass


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (400, b"", F.INVALID),
        (422, b'{"detail":[]}', F.INVALID),
        (418, b"", F.INVALID),
        (401, b"", F.CREDENTIAL),
        (402, b"", F.QUOTA),
        (403, b"", F.CREDENTIAL),
        (404, b"", F.GONE),
        (302, b"", F.GONE),
        (405, b"", F.UNSUPPORTED),
        (408, b"", F.TIMEOUT),
        (504, b"", F.TIMEOUT),
        (413, b"", F.TOO_LARGE),
        (409, b"", F.OVERLOADED),
        (429, b"", F.OVERLOADED),
        (429, b'{"error":{"code":"insufficient_quota"}}', F.QUOTA),
        (503, b"no room", F.OVERLOADED),
        (503, b'{"error":{"message":"Model is loading"}}', F.LOADING),
        (503, b'{"detail":"engine not ready"}', F.LOADING),
        (500, b"", F.FAILED),
        (502, b"", F.FAILED),
        (599, b"", F.FAILED),
        (520, b"", F.AMBIGUOUS),
        (522, b"<html>", F.AMBIGUOUS),
        (524, b"", F.TIMEOUT),
        (529, b'{"type":"error","error":{"type":"overloaded_error"}}', F.OVERLOADED),
        (400, b'{"error":{"code":"context_length_exceeded"}}', F.CONTEXT_TOO_LONG),
        (500, b'{"error":{"code":"context_length_exceeded"}}', F.CONTEXT_TOO_LONG),
        (413, b'{"error":{"message":"prompt is too long: 210000 tokens"}}', F.CONTEXT_TOO_LONG),
        (
            422,
            b'{"error":"`inputs` tokens + `max_new_tokens` must be <= 4096"}',
            F.CONTEXT_TOO_LONG,
        ),
        (
            400,
            b'{"object":"error","message":"This model\'s maximum context length is 4096 tokens"}',
            F.CONTEXT_TOO_LONG,
        ),
        (400, b'{"error":{"message":"max_tokens is too large: 16000"}}', F.INVALID),
        (403, b'{"error":{"message":"Your input was flagged.","code":403}}', F.FLAGGED),
        (400, b'{"error":{"code":"content_policy_violation","message":"no"}}', F.FLAGGED),
        (400, b'{"error":{"code":"content_filter"}}', F.FLAGGED),
        (500, b'{"error":{"message":"the moderation service is down"}}', F.FAILED),
    ],
)
def test_a_status_and_its_body_name_the_class(status: int, body: bytes, expected: F) -> None:
    assert classify(status, body) is expected


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ({"code": 400}, F.INVALID),
        ({"code": "404"}, F.GONE),
        ({"code": 503}, F.OVERLOADED),
        ({"code": "context_length_exceeded"}, F.CONTEXT_TOO_LONG),
        ({"type": "BadRequestError", "code": None}, F.INVALID),
        ({"type": "InternalServerError"}, F.FAILED),
        ({}, F.FAILED),
        ("text", F.FAILED),
        (True, F.FAILED),
    ],
)
def test_an_error_inside_a_200_is_classed_by_its_code_or_type(error: Any, expected: F) -> None:
    """The code may be an integer (vLLM) or a string (OpenAI)."""
    assert classify_error(error) is expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"error": {"message": "a", "code": 1}}, "a"),
        ({"error": "b"}, "b"),
        ({"detail": "c"}, "c"),
        ({"detail": [{"loc": ["body", "messages", 0], "msg": "d"}]}, "messages.0: d"),
        ({"object": "error", "message": "e"}, "e"),
        ({"title": "f", "status": 400}, "f"),
        ({"error": None, "message": "g"}, "g"),
        ({"unknown": 1}, ""),
        ([], ""),
        (3, ""),
    ],
)
def test_the_message_is_found_in_every_known_shape(body: Any, expected: str) -> None:
    assert message_of(json.dumps(body).encode()) == expected


def test_text_is_a_message_and_a_web_page_is_none() -> None:
    assert message_of(b"upstream is busy\n") == "upstream is busy"
    assert message_of(b"<html><body>502</body></html>") == ""
    assert message_of(b"\xff\xfe") != ""


def test_a_traceback_and_our_key_never_reach_the_caller() -> None:
    said = "bad key sk-123\nTraceback (most recent call last):\n  File x, line 1\nKeyError: 1"
    assert clean(said, [Secret("sk-123")]) == "bad key ***"


@pytest.mark.parametrize("status", [302, 307, 402, 403, 404, 413, 422, 429])
def test_what_may_be_the_requests_fault_or_the_backends_is_suspect(status: int) -> None:
    assert refusal(status, [], b'{"error":{"message":"no"}}', now=0.0).fault is Fault.SUSPECT


@pytest.mark.parametrize(
    ("status", "fault"), [(401, Fault.BACKEND), (400, Fault.SUSPECT), (500, Fault.BACKEND),
                          (503, Fault.BACKEND), (405, Fault.HERE)]
)  # fmt: skip
def test_the_fault_of_the_others_is_that_of_their_class(status: int, fault: Fault) -> None:
    assert refusal(status, [], b"", now=0.0).fault is fault


def test_what_was_flagged_or_too_long_is_not_suspect_whatever_its_status() -> None:
    flagged = refusal(403, [], b'{"error":{"code":"content_policy_violation"}}', now=0.0)
    assert flagged.fault is Fault.REQUEST
    long = refusal(413, [], b'{"error":{"code":"context_length_exceeded"}}', now=0.0)
    assert long.fault is Fault.HERE


def test_status_code_type_and_field_of_the_provider_are_kept() -> None:
    body = b'{"error":{"message":"m","type":"t","code":"c","param":"messages.0"}}'
    error = refusal(400, [], body, now=0.0)
    assert (error.status, error.code, error.type, error.param) == (400, "c", "t", "messages.0")
    fastapi = refusal(422, [], b'{"detail":[{"loc":["body","n"],"msg":"too many"}]}', now=0.0)
    assert (fastapi.status, fastapi.param, fastapi.message) == (422, "n", "n: too many")


def test_words_that_are_none_or_endless_are_not_kept() -> None:
    body = json.dumps({"error": {"message": "m", "type": {}, "code": "c" * 9999, "param": []}})
    error = refusal(400, [], body.encode(), now=0.0)
    assert (len(error.code or ""), error.type, error.param) == (MAX_WORD, None, None)


def test_an_error_in_a_200_keeps_what_it_says_of_itself() -> None:
    error = failure_in({"message": "slow down", "code": 429}, secrets=())
    assert (error.failure, error.fault, error.status) == (F.OVERLOADED, Fault.SUSPECT, 429)
    flat = failure_in({"object": "error", "message": "m", "type": "NotFoundError", "code": 404})
    assert (flat.failure, flat.status) == (F.GONE, 404)
    assert failure_in("out of memory").message == "out of memory"
    assert failure_in({}).failure is F.FAILED


def test_a_long_message_is_cut() -> None:
    assert len(clean("x" * 10_000)) == MAX_MESSAGE


def test_a_refused_key_is_the_operators_matter_and_not_the_callers() -> None:
    """The upstream repeats a part of our key; the caller is told nothing of it."""
    body = b'{"error":{"message":"Incorrect API key provided: sk-1***23. See https://upstream"}}'
    error = refusal(401, [], body, now=0.0)
    assert error.failure is F.CREDENTIAL
    assert "sk-1" not in error.message
    assert "upstream" not in error.message


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([], None),
        ([(b"Retry-After", b"7")], 7.0),
        ([(b"retry-after", b"0.5")], 0.5),
        ([(b"retry-after-ms", b"250"), (b"retry-after", b"9")], 0.25),
        ([(b"Retry-After", b"Thu, 01 Jan 1970 00:02:00 GMT")], 20.0),
        ([(b"Retry-After", b"Thu, 01 Jan 1970 00:00:10 GMT")], 0.0),
        ([(b"Retry-After", b"soon")], None),
        ([(b"Retry-After", b"9" * 400)], 86_400.0),
        ([(b"retry-after-ms", b"inf")], 86_400.0),
        ([(b"retry-after-ms", b"nan")], 0.0),
        ([(b"Retry-After", b"-5")], None),
    ],
)
def test_retry_after_is_read_as_seconds_milliseconds_or_a_date(
    headers: list[tuple[bytes, bytes]], expected: float | None
) -> None:
    assert retry_after(headers, now=100.0) == expected


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    "words",
    [
        "The request queue is full.",
        "Model is overloaded",
        "no slot available",
        "The engine is currently overloaded, please try again later",
    ],
)
def test_an_engine_without_room_for_anybody_is_not_this_callers_matter(
    words: str, status: int
) -> None:
    body = msgspec.json.encode({"error": {"message": words, "type": "overloaded"}})
    error = refusal(status, [], body, now=0.0)
    assert (error.failure, error.fault) == (F.OVERLOADED, Fault.BACKEND)


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        ({"code": 429}, Fault.SUSPECT),
        ({"code": "rate_limit_exceeded"}, Fault.SUSPECT),
        ({"type": "rate_limit_error"}, Fault.SUSPECT),
        ({"code": "model_not_found"}, Fault.SUSPECT),
        ({"type": "permission_error"}, Fault.SUSPECT),
        ({"type": "not_found_error"}, Fault.SUSPECT),
        ({"type": "NotFoundError"}, Fault.SUSPECT),
        ({"code": "forbidden"}, Fault.SUSPECT),
        ({"type": "overloaded_error"}, Fault.BACKEND),
        ({"code": "invalid_api_key"}, Fault.BACKEND),
        ({"code": 500}, Fault.BACKEND),
    ],
    ids=str,
)
def test_an_error_inside_an_answer_is_suspect_as_its_status_would_be(
    error: dict[str, Any], fault: Fault
) -> None:
    assert failure_in(error).fault is fault


def test_a_redirect_says_where_it_leads_to_whoever_runs_the_gateway() -> None:
    headers = [(b"location", b"https://new.example/v1?token=abc")]
    error = refusal(308, headers, b"", now=0.0)
    assert error.failure is F.GONE
    assert "https://new.example/v1, and no call" in error.detail
    assert "abc" not in error.detail
    assert "new.example" not in error.message


def said(message: str, **more: Any) -> bytes:
    return json.dumps({"error": {"message": message, **more}}).encode()


@pytest.mark.parametrize(
    ("body", "failure", "fault"),
    [
        (said("max_tokens must be positive"), FailureClass.INVALID, Fault.REQUEST),
        (said("", type="invalid_request_error"), FailureClass.INVALID, Fault.REQUEST),
        (said("", param="temperature"), FailureClass.INVALID, Fault.REQUEST),
        (b'{"detail":"no such field"}', FailureClass.INVALID, Fault.REQUEST),
        (b'[{"error":{"code":400,"message":"bad x","status":"INVALID_ARGUMENT"}}]',
         FailureClass.INVALID, Fault.REQUEST),
        (b"", FailureClass.INVALID, Fault.SUSPECT),
        (b"<html>400 Bad Request</html>", FailureClass.INVALID, Fault.SUSPECT),
        (b"Bad Request", FailureClass.INVALID, Fault.SUSPECT),
        (b"{}", FailureClass.INVALID, Fault.SUSPECT),
        (b'{"id":"r-1"}', FailureClass.INVALID, Fault.SUSPECT),
        (b"[]", FailureClass.INVALID, Fault.SUSPECT),
        (b'"no"', FailureClass.INVALID, Fault.SUSPECT),
        (b'{"error":"Bad Request"}', FailureClass.INVALID, Fault.SUSPECT),
        (said("API key not valid. Please pass a valid API key."), FailureClass.CREDENTIAL,
         Fault.SUSPECT),
        (said("Incorrect API key provided"), FailureClass.CREDENTIAL, Fault.SUSPECT),
        (said("x", code="invalid_api_key"), FailureClass.CREDENTIAL, Fault.BACKEND),
        (said("x", details=[{"reason": "API_KEY_INVALID"}]), FailureClass.CREDENTIAL,
         Fault.BACKEND),
        (said("Your credit balance is too low"), FailureClass.QUOTA, Fault.SUSPECT),
        (said("Billing is not enabled"), FailureClass.QUOTA, Fault.SUSPECT),
        (said("x", code="model_not_found"), FailureClass.GONE, Fault.SUSPECT),
        (said("x", type="rate_limit_error"), FailureClass.OVERLOADED, Fault.SUSPECT),
    ],
    ids=str,
)  # fmt: skip
def test_a_400_is_the_requests_fault_where_an_api_says_what_is_wrong_with_it(
    body: bytes, failure: FailureClass, fault: Fault
) -> None:
    error = refusal(400, [], body, now=0.0)
    assert (error.failure, error.fault) == (failure, fault)


def test_nobody_is_told_that_his_request_is_bad_where_our_account_is_empty() -> None:
    assert refusal(400, [], said("Your credit balance is too low"), now=0.0).status is None


@pytest.mark.parametrize(
    "error",
    [
        {"type": "rate_limit_error", "message": "slow down"},
        {"code": "rate_limit_exceeded"},
        {"status": "RESOURCE_EXHAUSTED", "message": "x"},
        {"message": "Rate limit reached for requests"},
        {"__type": "ThrottlingException"},
        {"code": 429},
    ],
    ids=str,
)
def test_a_limit_of_rates_is_429_by_whatever_name(error: dict[str, Any]) -> None:
    failure = failure_in(error)
    assert (failure.failure, failure.fault) == (FailureClass.OVERLOADED, Fault.SUSPECT)
    assert failure.status == 429


@pytest.mark.parametrize(
    ("more", "headers", "seconds"),
    [
        ({}, [], None),
        ({}, [(b"Retry-After", b"7")], 7.0),
        ({"retry_after": 3.5}, [(b"Retry-After", b"7")], 3.5),
        ({"retry_after": "soon"}, [], None),
        ({"retry_after": 1e400}, [], None),
        ({"metadata": {"headers": {"Retry-After": "9"}}}, [], 9.0),
    ],
)
def test_how_long_it_lasts_is_read_of_an_error_or_of_its_answers_head(
    more: dict[str, Any], headers: list[tuple[bytes, bytes]], seconds: float | None
) -> None:
    error = failure_in({"error": {"type": "rate_limit_error", **more}})
    assert asked_by(error, headers, 0.0).retry_after == seconds


def test_only_what_passes_by_itself_lasts_for_a_while() -> None:
    assert asked_by(failure_in({"error": "x"}), [(b"Retry-After", b"7")], 0.0).retry_after is None
