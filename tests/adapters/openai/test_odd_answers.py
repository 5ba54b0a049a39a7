"""Answers of every odd kind that was seen or may be, and the one thing that each comes to.

A row is what the server writes; ``whole`` and ``stream`` are what becomes of a call that asked for
either: the tokens of an answer, or the class of its failure, after ``then`` where it has begun.
"""

from __future__ import annotations

import msgspec
import pytest

from adapters.errors import BackendError
from adapters.types import Reply, Usage
from gateway.clock import FakeClock
from tests.adapters.openai.test_backend import a_call, upstream
from tests.adapters.servers import CUT, answer, chunked, drive

MESSAGE = b'{"role":"assistant","content":"hello there"}'
USED = b'"usage":{"prompt_tokens":3,"completion_tokens":2}'
CHOICE = b'{"index":0,"message":' + MESSAGE + b',"finish_reason":"stop"}'
WHOLE = b'{"choices":[' + CHOICE + b"]," + USED + b"}"
DELTA = b'data: {"choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":null}]}\n\n'
FINISH = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
ROLE = b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}\n\n'
TWO = DELTA + DELTA.replace(b'"index":0', b'"index":1')
SECOND_ENDS = FINISH.replace(b'"index":0', b'"index":1')
USAGE = b'data: {"choices":[],' + USED + b"}\n\n"
DONE = b"data: [DONE]\n\n"
GOOD = DELTA + FINISH + USAGE + DONE


class Row(msgspec.Struct, frozen=True):
    """One kind of answer."""

    name: str
    wire: bytes
    whole: str | None = None
    stream: str | None = None


def both(name: str, wire: bytes, outcome: str) -> Row:
    return Row(name, wire, outcome, outcome)


def status(number: int, outcome: str, body: bytes = b"", **headers: str) -> Row:
    head = answer(body, status=number, **headers)
    return both(f"{number}-{body[:24].decode()}" if body else str(number), head, outcome)


def in_200(name: str, body: bytes, outcome: str) -> Row:
    """An answer of status 200, whichever was asked for."""
    return both(f"200-{name}", answer(body), outcome)


def first_event(name: str, event: bytes, outcome: str) -> Row:
    return Row(f"first-event-{name}", chunked(event, end=True), None, outcome)


def later_event(name: str, event: bytes, outcome: str = "then TRUNCATED") -> Row:
    return Row(f"later-event-{name}", chunked(DELTA, event, DONE), None, outcome)


def events(name: str, *pieces: bytes, outcome: str = "3+2") -> Row:
    return Row(f"events-{name}", chunked(*pieces), None, outcome)


def raw(name: str, wire: bytes, outcome: str) -> Row:
    return both(f"wire-{name}", wire, outcome)


def head(*lines: bytes) -> bytes:
    return b"\r\n".join([b"HTTP/1.1 200 OK", *lines]) + b"\r\n\r\n"


JSON = b"content-type: application/json"
LENGTH = b"content-length: %d" % len(WHOLE)
CHUNKED = b"transfer-encoding: chunked"
UPGRADE = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n"
EXTENDED = b"%x;a=b\r\n" % len(WHOLE) + WHOLE + b"\r\n0;c\r\n\r\n"
BOMB = b"0\r\n" + b"x: y\r\n" * 200_000 + b"\r\n"
ONE_CHUNK = b"%x\r\n" % len(WHOLE) + WHOLE + b"\r\n"

STATUSES = [
    status(204, "MALFORMED"),
    status(205, "MALFORMED"),
    both("206-of-a-part", answer(WHOLE[:20], status=206), "MALFORMED"),
    both("203", answer(WHOLE, status=203), "3+2"),
    status(300, "GONE?"),
    status(301, "GONE?", location="/elsewhere"),
    status(302, "GONE?", location="http://127.0.0.1:1/"),
    status(303, "GONE?"),
    status(304, "GONE?"),
    status(307, "GONE?", location="/elsewhere"),
    status(308, "GONE?"),
    status(406, "FAILED"),
    status(407, "CREDENTIAL"),
    status(409, "OVERLOADED?"),
    status(411, "FAILED"),
    status(417, "FAILED"),
    status(418, "INVALID?"),
    status(421, "FAILED"),
    status(423, "OVERLOADED?"),
    status(424, "FAILED"),
    status(425, "LOADING"),
    status(426, "FAILED"),
    status(428, "FAILED"),
    status(431, "FAILED"),
    status(451, "INVALID?"),
    status(451, "FLAGGED", b'{"error":{"message":"Your input was flagged."}}'),
    status(460, "AMBIGUOUS"),
    status(499, "AMBIGUOUS"),
    status(505, "FAILED"),
    status(507, "FAILED"),
    status(508, "FAILED"),
    status(511, "FAILED"),
    status(521, "AMBIGUOUS"),
    status(561, "FAILED"),
    status(598, "TIMEOUT"),
    status(599, "FAILED"),
    status(999, "FAILED"),
]
IN_200 = [
    in_200("detail", b'{"detail":"Not Found"}', "MALFORMED"),
    in_200("detail-list", b'{"detail":[{"loc":["body","n"],"msg":"too many"}]}', "MALFORMED"),
    in_200("errors", b'{"errors":[{"message":"no room","code":429}]}', "OVERLOADED?"),
    in_200("errors-text", b'{"success":false,"errors":["it broke"],"result":null}', "MALFORMED"),
    in_200("errors-empty", WHOLE[:-1] + b',"errors":[]}', "3+2"),
    in_200("success-false", b'{"success":false}', "MALFORMED"),
    in_200("status-only", b'{"status":"error","message":"the engine died"}', "MALFORMED"),
    in_200("choices-empty", b'{"choices":[],' + USED + b"}", "MALFORMED"),
    in_200("choices-object", b'{"choices":{"0":1}}', "MALFORMED"),
    in_200("choices-text", b'{"choices":"[hello]"}', "MALFORMED"),
    in_200("finish-error", WHOLE.replace(b'"stop"', b'"error"'), "FAILED"),
    in_200("finish-abort", WHOLE.replace(b'"stop"', b'"abort"'), "FAILED"),
    in_200(
        "finish-no-resources", WHOLE.replace(b'"stop"', b'"insufficient_system_resource"'), "FAILED"
    ),
    in_200(
        "error-in-choice",
        b'{"choices":[{"error":{"message":"no room","code":503},"finish_reason":"error"}]}',
        "OVERLOADED",
    ),
    in_200(
        "error-in-a-finished-choice",
        WHOLE.replace(b'"index"', b'"error":{"code":503},"index"'),
        "OVERLOADED",
    ),
    in_200("error-null-in-a-choice", WHOLE.replace(b'"index"', b'"error":null,"index"'), "3+2"),
    in_200(
        "hollow-error-beside-an-answer", WHOLE[:-1] + b',"error":{"code":0,"message":""}}', "3+2"
    ),
    in_200("hollow-error-alone", b'{"error":{"code":0}}', "FAILED"),
    in_200("type-error", b'{"type":"error","message":"boom"}', "MALFORMED"),
    in_200("status-500", b'{"status":500,"message":"boom"}', "MALFORMED"),
    in_200("status-429", b'{"status":429,"message":"slow down"}', "OVERLOADED?"),
    in_200("quoting-error", WHOLE.replace(b"hello there", b'an \\"error\\" was'), "3+2"),
    in_200("nan", WHOLE[:-1] + b',"x":NaN,"y":[-Infinity]}', "3+2"),
    in_200("lone-surrogate", WHOLE.replace(b"hello", b"\\ud83d"), "3+2"),
    in_200("key-twice", WHOLE[:-1] + b"," + USED + b"}", "3+2"),
    in_200("bom", b"\xef\xbb\xbf" + WHOLE, "3+2"),
    in_200("two-values", WHOLE + WHOLE, "MALFORMED"),
    in_200("cut-json", WHOLE[:-3], "MALFORMED"),
    in_200("usage-list", b'{"choices":[' + CHOICE + b'],"usage":[1,2]}', "None+None"),
    in_200("usage-huge", WHOLE.replace(b":3,", b":1e300,"), "None+2"),
    in_200("usage-negative", WHOLE.replace(b":3,", b":-3,"), "None+2"),
    in_200("deep", b'{"choices":' + b"[" * 100_000, "MALFORMED"),
]
EVENTS = [
    first_event("done-alone", DONE, "MALFORMED"),
    first_event(
        "vllm", b'data: {"error":{"object":"error","message":"x","code":400}}\n\n', "INVALID"
    ),
    first_event("tgi", b'data: {"error":"busy","error_type":"overloaded"}\n\n', "OVERLOADED"),
    first_event("flat", b'data: {"object":"error","message":"x","code":503}\n\n', "OVERLOADED"),
    first_event(
        "anthropic",
        b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error"}}\n\n',
        "OVERLOADED",
    ),
    first_event("named-error-object", b'event: error\ndata: {"message":"boom"}\n\n', "FAILED"),
    first_event("named-error-code", b'event: error\ndata: {"code":503}\n\n', "OVERLOADED"),
    first_event("named-error-text", b"event: error\ndata: boom\n\n", "FAILED"),
    first_event("named-error-crlf", b"event:error\r\ndata:boom\r\n\r\n", "FAILED"),
    first_event("detail", b'data: {"detail":"no such thing"}\n\n', "MALFORMED"),
    first_event("errors", b'data: {"errors":[{"message":"x","code":429}]}\n\n', "OVERLOADED?"),
    first_event("success-false", b'data: {"success":false}\n\n', "MALFORMED"),
    first_event("finish-error", FINISH.replace(b'"stop"', b'"error"') + DONE, "FAILED"),
    first_event("web-page", b"data: <html></html>\n\n", "MALFORMED"),
    first_event("nan", b'data: {"choices":[NaN]}\n\n', "MALFORMED"),
    first_event("ping-and-nothing", b'data: {"type":"ping"}\n\n', "MALFORMED"),
    later_event("vllm", b'data: {"error":{"object":"error","message":"x","code":400}}\n\n'),
    later_event("sglang", b'data: {"error":{"message":"x","type":"abort","code":500}}\n\n'),
    later_event("tgi", b'data: {"error":"Incomplete","error_type":"incomplete_generation"}\n\n'),
    later_event("named-error", b"event: error\ndata: boom\n\n"),
    later_event("named-error-object", b'event: error\ndata: {"message":"boom"}\n\n'),
    later_event("finish-error", FINISH.replace(b'"stop"', b'"error"')),
    later_event("finish-abort", FINISH.replace(b'"stop"', b'"abort"')),
    later_event("flat", b'data: {"object":"error","message":"x"}\n\n'),
    later_event("no-json", b"data: {\n\n"),
    later_event("type-error", b'data: {"type":"error","message":"x"}\n\n'),
    later_event("detail", b'data: {"detail":"Internal error"}\n\n'),
    later_event("status", b'data: {"status":500,"message":"x"}\n\n'),
    later_event("errors", b'data: {"errors":["x"]}\n\n'),
    later_event("text", b'data: "error: CUDA OOM"\n\n'),
    later_event("error-true", b'data: {"error":true,"message":"OOM"}\n\n'),
    later_event("hollow-error", b'data: {"error":{"code":0}}\n\n'),
    later_event("error-in-a-choice", DELTA.replace(b'"index"', b'"error":{"code":502},"index"')),
    later_event("named-error-below", b'data: {"message":"x"}\nevent: error\n\n'),
    later_event("named-error-of-any-data", b"event: error\ndata: {}\n\n"),
    events("status-of-a-job", DELTA, b'data: {"status":200}\n\n', FINISH + USAGE + DONE),
    events("hollow-detail", DELTA, b'data: {"detail":null,"errors":[]}\n\n', FINISH + USAGE + DONE),
    first_event("role-then-overload", ROLE + b'data: {"error":{"code":503}}\n\n', "OVERLOADED"),
    first_event("role-then-nothing", ROLE + DONE, "MALFORMED"),
    first_event("empty-text-then-nothing", ROLE * 9, "MALFORMED"),
    first_event(
        "azures-first-then-nothing",
        b'data: {"choices":[],"prompt_filter_results":[]}\n\n',
        "MALFORMED",
    ),
    events("no-text-at-all", ROLE + FINISH + USAGE + DONE),
    events("two-choices", TWO + FINISH + SECOND_ENDS + USAGE),
    events("two-choices-one-ended", TWO + FINISH + USAGE, outcome="then TRUNCATED"),
    events("two-choices-one-ended-and-done", TWO + FINISH + USAGE + DONE, outcome="then TRUNCATED"),
    events("lf", GOOD),
    events("crlf", GOOD.replace(b"\n", b"\r\n")),
    events("cr", GOOD.replace(b"\n", b"\r")),
    events("bom", b"\xef\xbb\xbf", GOOD),
    events("byte-by-byte", *[GOOD[i : i + 1] for i in range(len(GOOD))]),
    events("no-blank-line-at-the-end", GOOD[:-2]),
    events("no-done", DELTA + FINISH + USAGE),
    events("no-space", GOOD.replace(b"data: ", b"data:")),
    events("ping-first", b'data: {"type":"ping"}\n\n', GOOD),
    events("comments-first", b": wait\n\n" * 9, GOOD),
    events("names", GOOD.replace(b"data:", b"event: chunk\ndata:")),
    events("comments-alone", b": wait\n\n" * 9, outcome="MALFORMED"),
    events("lone-surrogate", GOOD.replace(b"hi", b"\\ud83d")),
    events("no-finish", DELTA, outcome="then TRUNCATED"),
    events("after-done", GOOD, b'data: {"error":"late"}\n\n'),
    events("usage-without-any-choice", USAGE, DONE, outcome="MALFORMED"),
    events(
        "two-datas-a-line", DELTA.replace(b',"delta"', b',\ndata: "delta"') + FINISH + USAGE + DONE
    ),
]
WIRES = [
    raw("length-too-small", head(JSON, b"content-length: 9") + WHOLE, "MALFORMED"),
    raw("length-too-large", head(JSON, b"content-length: 999") + WHOLE + CUT, "TRUNCATED"),
    raw("length-twice-other", head(JSON, LENGTH, b"content-length: 9") + WHOLE + CUT, "MALFORMED"),
    raw("length-negative", head(JSON, b"content-length: -1") + WHOLE + CUT, "MALFORMED"),
    raw("length-and-chunks", head(JSON, LENGTH, CHUNKED) + ONE_CHUNK + CUT, "MALFORMED"),
    raw("chunk-size-wrong", head(JSON, CHUNKED) + b"zz\r\n" + WHOLE + CUT, "MALFORMED"),
    raw("chunks-without-end", head(JSON, CHUNKED) + ONE_CHUNK + CUT, "TRUNCATED"),
    raw("chunk-extensions", head(JSON, CHUNKED) + EXTENDED, "3+2"),
    raw("trailers", head(JSON, CHUNKED) + ONE_CHUNK + b"0\r\nx-sum: 1\r\nx-b: 2\r\n\r\n", "3+2"),
    raw("trailer-bomb", head(JSON, CHUNKED) + ONE_CHUNK + BOMB, "MALFORMED"),
    raw("head-bomb", head(*[b"x-%d: y" % n for n in range(90_000)], LENGTH) + CUT, "MALFORMED"),
    raw("one-header-bomb", head(b"x: " + b"y" * 1_000_000, LENGTH) + WHOLE + CUT, "MALFORMED"),
    raw("early-hints", b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n" + answer(WHOLE), "3+2"),
    raw("continue", b"HTTP/1.1 100 Continue\r\n\r\n" * 20 + answer(WHOLE), "3+2"),
    raw("continue-flood", b"HTTP/1.1 100 Continue\r\n\r\n" * 9_000 + CUT, "MALFORMED"),
    raw("switching", UPGRADE + CUT, "MALFORMED"),
    raw("http-1.0-to-the-close", b"HTTP/1.0 200 OK\r\n\r\n" + WHOLE + CUT, "3+2"),
    raw("http-1.0-cut", b"HTTP/1.0 200 OK\r\n\r\n" + WHOLE[:-9] + CUT, "MALFORMED"),
    raw("http-2", b"\x00\x00\x12\x04\x00\x00\x00\x00\x00" + CUT, "MALFORMED"),
    raw("tls-alert", b"\x15\x03\x03\x00\x02\x02\x46" + CUT, "MALFORMED"),
    raw("bare-lf", head(JSON, LENGTH).replace(b"\r\n", b"\n") + WHOLE + CUT, "MALFORMED"),
    raw("folded-header", head(JSON, b"x: a\r\n b", LENGTH) + WHOLE + CUT, "MALFORMED"),
    raw("space-before-colon", head(JSON, b"content-length : 9") + WHOLE + CUT, "MALFORMED"),
    raw("nul-in-header", head(JSON, b"x: a\x00b", LENGTH) + WHOLE + CUT, "MALFORMED"),
    raw("no-reason", b"HTTP/1.1 200\r\n" + LENGTH + b"\r\n\r\n" + WHOLE, "3+2"),
    raw("label-of-a-picture", answer(WHOLE, content_type="image/png"), "3+2"),
    raw("encoding-unknown", answer(WHOLE, content_encoding="br"), "MALFORMED"),
    raw("encoding-broken", answer(WHOLE, content_encoding="gzip"), "MALFORMED"),
]  # fmt: skip
ROWS = [*STATUSES, *IN_200, *EVENTS, *WIRES]


async def outcome(clock: FakeClock, wire: bytes, *, stream: bool) -> str:
    async with upstream(clock, wire, wire, timeout=5.0, stall_timeout=2.0) as (backend, _):
        try:
            reply = await drive(clock, backend.invoke(a_call(stream=stream)))
        except BackendError as error:
            suspect = error.fault.value == "suspect"
            return error.failure.name + "?" * suspect
        finally:
            assert "0 active" in repr(backend)
        return await drive(clock, end_of(reply)) if stream else tokens(reply.usage)


async def end_of(reply: Reply) -> str:
    assert reply.chunks is not None
    try:
        chunks = [chunk async for chunk in reply.chunks]
    except BackendError as error:
        return f"then {error.failure.name}"
    assert chunks[-1].kind == "done"
    return tokens(chunks[-1].usage)


def tokens(usage: Usage | None) -> str:
    assert usage is not None
    return f"{usage.input_tokens}+{usage.output_tokens}"


@pytest.mark.parametrize("row", [r for r in ROWS if r.whole], ids=lambda row: row.name)
async def test_of_a_whole_call(row: Row, clock: FakeClock) -> None:
    assert await outcome(clock, row.wire, stream=False) == row.whole


@pytest.mark.parametrize("row", [r for r in ROWS if r.stream], ids=lambda row: row.name)
async def test_of_a_streamed_call(row: Row, clock: FakeClock) -> None:
    assert await outcome(clock, row.wire, stream=True) == row.stream
