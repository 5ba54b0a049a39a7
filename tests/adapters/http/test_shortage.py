"""What the gateway lacks itself is said of itself, never of the backend."""

from __future__ import annotations

import errno
import os
import resource
import socket
from collections.abc import Iterator

import pytest

from adapters.errors import BackendError, FailureClass
from adapters.http.client import Client, Origin, render_head
from adapters.shortage import OURS, is_ours, last_for_calls, reserve_of
from gateway.clock import SystemClock
from gateway.routing.health import HEALTHY, Failed, after_failure
from tests.descriptors import no_descriptor_left


async def failure_of(client: Client, origin: Origin) -> BackendError:
    with pytest.raises(BackendError) as caught:
        await client.request(render_head("GET", origin, "/"))
    return caught.value


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


async def test_without_a_descriptor_nobody_is_blamed(listener: socket.socket) -> None:
    origin = Origin(f"http://127.0.0.1:{listener.getsockname()[1]}")
    client = Client(origin, SystemClock())
    client.start()
    with no_descriptor_left():
        error = await failure_of(client, origin)
    await client.aclose()
    assert (error.failure, error.retry_after) == (FailureClass.SHORTAGE, 1.0)
    assert after_failure(HEALTHY, Failed(error, "chat", "key", 1), 0.0, 0.0) == HEALTHY


async def test_the_reserve_is_left_alone(listener: socket.socket) -> None:
    """A connection that would take of it is not made."""
    origin = Origin(f"http://127.0.0.1:{listener.getsockname()[1]}")
    with no_descriptor_left(but=8):
        client = Client(origin, SystemClock())
        client.start()
        error = await failure_of(client, origin)
        await client.aclose()
    assert error.failure is FailureClass.SHORTAGE
    listener.setblocking(False)
    with pytest.raises(BlockingIOError):
        listener.accept()


async def test_a_port_that_is_closed_is_the_backends_matter(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    listener.close()
    origin = Origin(f"http://127.0.0.1:{port}")
    client = Client(origin, SystemClock())
    client.start()
    error = await failure_of(client, origin)
    await client.aclose()
    assert error.failure is FailureClass.UNREACHABLE


@pytest.mark.parametrize("number", sorted(OURS), ids=errno.errorcode.get)
def test_what_is_ours_is_known_by_its_number(number: int) -> None:
    assert is_ours(OSError(number, os.strerror(number)))


@pytest.mark.parametrize("number", [errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ETIMEDOUT])
def test_what_is_the_networks_is_not(number: int) -> None:
    assert not is_ours(OSError(number, os.strerror(number)))


def test_a_name_that_cannot_be_looked_up_for_want_of_a_descriptor_is_ours() -> None:
    """The resolver says no more than that it failed."""
    assert not is_ours(socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"))
    with no_descriptor_left():
        assert is_ours(socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"))


@pytest.mark.parametrize(("limit", "kept"), [(100, 16), (256, 32), (1024, 128), (1 << 20, 256)])
def test_an_eighth_is_kept_and_never_very_much(limit: int, kept: int) -> None:
    assert reserve_of(limit) == kept


def test_half_of_the_reserve_is_left_to_calls_that_were_taken() -> None:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert last_for_calls() == soft - reserve_of(soft) // 2
