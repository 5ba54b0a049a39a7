"""What a client is told that is refused before any app has seen its request."""

from __future__ import annotations

from local_runtime.http.errors import Refusal
from local_runtime.http.head import refusal_answer


def test_a_refusal_says_all_its_headers_and_ends_the_connection_once() -> None:
    refusal = Refusal(503, "overloaded", "Full.", headers={"Retry-After": "1", "Connection": "x"})
    head, _, body = refusal_answer(refusal).partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"HTTP/1.1 503 Service Unavailable"
    assert b"retry-after: 1" in lines
    assert [line for line in lines if line.lower().startswith(b"connection")] == [
        b"connection: close"
    ]
    assert body == refusal.body()
