"""Web endpoints of ``kind: modal``, against an edge as Modal describes it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from adapters.errors import BackendError, FailureClass
from adapters.modal.backend import Modal
from adapters.modal.settings import ModalSettings
from adapters.modal.web import MAX_HOPS
from adapters.settings import Secret
from adapters.types import Call
from gateway.clock import SystemClock
from tests.adapters.modal.web_stage import Edge, edge_running
from tests.adapters.scenarios import KEY
from tests.waiting import until

Running = tuple[Edge, str]


@pytest.fixture
def edge() -> Iterator[Running]:
    with edge_running() as running:
        yield running


def backend_for(url: str, **more: Any) -> Modal:
    usual: dict[str, Any] = {
        "url": url,
        "path": "/predict",
        "proxy_key": Secret("wk-1"),
        "proxy_secret": Secret(KEY),
        "keep_alive": 4.0,
    }
    return Modal("m", ModalSettings(**{**usual, **more}), SystemClock())


def call(body: bytes, *, stream: bool = False) -> Call:
    return Call(id="c1", model="m", task="infer", body=body, stream=stream)


async def failing(backend: Modal, asked: Call) -> BackendError:
    with pytest.raises(BackendError) as caught:
        await backend.invoke(asked)
    return caught.value


async def test_a_303_is_followed_by_gets_and_the_call_is_submitted_once(
    edge: Running,
) -> None:
    server, url = edge
    backend = backend_for(url)
    await backend.start()
    reply = await backend.invoke(call(b'{"hops": 3, "echo": "hello"}'))
    assert reply.body == b'"hello"'
    assert [method for method, _ in server.seen] == ["POST", "GET", "GET", "GET"]
    assert all(not data for method, data in server.seen if method == "GET")
    await backend.aclose()


async def test_the_hops_are_counted(edge: Running) -> None:
    server, url = edge
    backend = backend_for(url)
    await backend.start()
    error = await failing(backend, call(b'{"hops": 100}'))
    assert error.failure is FailureClass.TIMEOUT
    assert len(server.seen) == 1 + MAX_HOPS
    await backend.aclose()


async def test_a_redirect_to_another_host_gets_no_key_of_ours(edge: Running) -> None:
    server, url = edge
    with edge_running() as (other, elsewhere):
        backend = backend_for(url)
        await backend.start()
        body = b'{"hops": 1, "elsewhere": "%b"}' % elsewhere.encode()
        error = await failing(backend, call(body))
        assert error.failure is FailureClass.AMBIGUOUS
        assert other.seen == []
        assert len(server.seen) == 1
        await backend.aclose()


async def test_a_refusal_of_the_edge_is_text_and_our_own_matter(edge: Running) -> None:
    _, url = edge
    backend = backend_for(url, proxy_secret=Secret("wrong-secret"))
    await backend.start()
    error = await failing(backend, call(b"{}"))
    assert error.failure is FailureClass.CREDENTIAL
    assert error.message == "The backend refused the gateway's credentials."
    assert "modal-http:" in error.detail
    await backend.aclose()


async def test_an_endpoint_of_two_backends_is_asked_at_its_own_path(edge: Running) -> None:
    _, url = edge
    backend = backend_for(url + "/v1", path="/chat/completions")
    await backend.start()
    reply = await backend.invoke(call(b'{"hops": 1, "echo": 7}'))
    assert reply.body == b"7"
    await backend.aclose()


async def test_a_ping_asks_the_health_path_and_without_one_there_is_none(edge: Running) -> None:
    _, url = edge
    backend = backend_for(url, health_path="/up")
    await backend.start()
    assert (await backend.ping()).exec_s is not None
    await backend.aclose()
    bare = backend_for(url)
    with pytest.raises(BackendError) as caught:
        await bare.ping()
    assert caught.value.failure is FailureClass.UNSUPPORTED


async def test_an_endpoint_is_taken_to_be_cold_once_it_was_idle_for_long(edge: Running) -> None:
    _, url = edge
    backend = backend_for(url, warm_for=0.05)
    await backend.start()
    assert (await backend.probe()).ready
    reply = await backend.invoke(call(b'{"echo": 1}'))
    assert not reply.usage.cold_s
    await until_cold(backend)
    reply = await backend.invoke(call(b'{"echo": 1}'))
    assert reply.usage.cold_s is not None
    await backend.aclose()


async def until_cold(backend: Modal) -> None:
    async def cold() -> bool:
        return not (await backend.probe()).ready

    await until(cold, "the endpoint is cold")


async def test_an_endpoint_cannot_be_scaled_and_has_nothing_to_cancel(edge: Running) -> None:
    _, url = edge
    backend = backend_for(url)
    assert await backend.cancel("c1") is None
    with pytest.raises(BackendError) as caught:
        await backend.keep_workers(1)
    assert caught.value.failure is FailureClass.UNSUPPORTED
