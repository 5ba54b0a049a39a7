"""What a handler is given, whatever its own types do."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from local_runtime import Batch, InvalidInput, Request, Runtime
from local_runtime.protocol.events import Run
from local_runtime.worker.jobs import Job
from local_runtime.worker.requests import prepare, request_of


class Raising(msgspec.Struct):
    how: str

    def __post_init__(self) -> None:
        raise {
            "assert": AssertionError,
            "key": KeyError,
            "attribute": AttributeError,
            "value": ValueError,
        }[self.how](self.how)


app = Runtime("raising")


@app.handler("/", batch=Batch())
def plain(context: Any, requests: list[Request[Raising]]) -> Any: ...


@app.handler("/bucket", batch=Batch(bucket=lambda request: request.json.how))
def sorted_out(context: Any, requests: list[Request[Raising]]) -> Any: ...


def job(route: str, body: bytes) -> Job:
    return Job(Run(1, route, body), app.handlers[route], 0.0, lambda event: None)


@pytest.mark.parametrize("how", ["assert", "key", "attribute", "value"])
def test_a_type_that_raises_fails_its_own_call_and_not_the_socket(how: str) -> None:
    """Other callers' calls come by the same connection, which an exception would end."""
    body = b'{"how": "%s"}' % how.encode()
    for route in ("/", "/bucket"):
        refused = prepare(job(route, body))
        assert refused is not None
        assert refused.kind == ("invalid" if how == "value" else "failed")


def test_a_large_body_without_a_bucket_is_refused_when_its_turn_comes() -> None:
    waiting = job("/", b" " * 2**16 + b'{"how": "value"}')
    assert prepare(waiting) is None
    with pytest.raises(InvalidInput):
        request_of(waiting)


def test_a_body_that_fits_is_read_before_its_turn() -> None:
    other = Runtime("other")

    @other.handler("/", batch=Batch())
    def handler(context: Any, requests: list[Request]) -> Any: ...

    waiting = Job(Run(1, "/", b'{"a": 1}'), other.handlers["/"], 0.0, lambda event: None)
    assert prepare(waiting) is None
    assert waiting.request is not None
    assert request_of(waiting) is waiting.request
