"""Who speaks HTTP/1.0 takes the end of the connection for that of the answer: a reset tells him
that it is not whole. On real sockets, with and without TLS, on both loops."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import uvloop
from starlette.types import Receive, Scope, Send

from local_runtime.http.client_limits import ClientLimits
from local_runtime.http.server_state import ServerState
from tests.local_runtime.http.wire import Waits, protocol
from tests.private_authority import issue

Run = Callable[[Coroutine[Any, Any, Any]], Any]
LOOPS: dict[str, Run] = {"asyncio": asyncio.run, "uvloop": uvloop.run}
PIECE = b"data: {}\n\n" * 200_000
"""More than a socket takes at once."""
ERROR = b'data: {"error": {}}\n\n'


class Answer(NamedTuple):
    body: bytes
    is_whole: bool
    """Its connection ended as a whole answer's does."""


async def ends(send: Send) -> None:
    await send({"type": "http.response.body", "body": ERROR})


async def is_cut(send: Send) -> None:
    await send({"type": "http.response.body", "body": ERROR, "more_body": None})


async def fails(send: Send) -> None:
    raise RuntimeError("of the app")


async def is_cancelled(send: Send) -> None:
    raise asyncio.CancelledError


async def returns(send: Send) -> None:
    """And has not said that this is all."""


HOW = [ends, is_cut, fails, is_cancelled, returns]


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("how", HOW, ids=[how.__name__ for how in HOW])
def test_only_a_whole_answer_ends_as_one_does(how: Any, tls: bool, loop: str, folder: Path) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": PIECE, "more_body": True})
        await how(send)

    answer = LOOPS[loop](answered(app, folder if tls else None))

    assert answer.body == PIECE + (ERROR if how in (ends, is_cut) else b"")
    assert answer.is_whole is (how is ends)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize(
    ("limits", "more"),
    [(ClientLimits(body_s=0.2, rate=10**9), b""), (ClientLimits(), b"\x16\x03\x01\r\n\r\n")],
    ids=["too slow", "no HTTP"],
)
def test_whose_request_ends_the_connection_has_no_whole_answer(
    limits: ClientLimits, more: bytes, tls: bool, loop: str, folder: Path
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": PIECE, "more_body": True})
        await Waits().told.wait()

    sent = b"POST / HTTP/1.0\r\nconnection: keep-alive\r\ncontent-length: %d\r\n\r\n"
    asking = answered(app, folder if tls else None, (sent % (0 if more else 9), more), limits)
    answer = LOOPS[loop](asking)

    assert (answer.body, answer.is_whole) == (PIECE, False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("tls")
    issue(made)
    return made


async def answered(
    app: Any,
    folder: Path | None,
    sent: tuple[bytes, ...] = (b"GET / HTTP/1.0\r\n\r\n",),
    limits: ClientLimits = ClientLimits(),  # noqa: B008 - frozen
) -> Answer:
    state, context = ServerState(), None
    if folder is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    server = await asyncio.get_running_loop().create_server(
        lambda: protocol(app, state, limits=limits), "127.0.0.1", 0, ssl=context
    )
    try:
        port = server.sockets[0].getsockname()[1]
        return await asyncio.to_thread(read, port, sent, folder)
    finally:
        server.close()
        for task in state.tasks:
            task.cancel()
        await asyncio.gather(*state.tasks, return_exceptions=True)


def read(port: int, sent: tuple[bytes, ...], folder: Path | None) -> Answer:
    """As a client does that trusts the connection's end, and sends the rest into its answer."""
    client = socket.create_connection(("127.0.0.1", port), timeout=20)
    if folder is not None:
        context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
        client = context.wrap_socket(client, server_hostname="127.0.0.1",
                                     suppress_ragged_eofs=False)  # fmt: skip
    said = b""
    with client:
        first, *rest = sent
        client.sendall(first)
        try:
            while part := client.recv(65536):
                said += part
                while rest and PIECE in said:
                    client.sendall(rest.pop())
        except (ConnectionResetError, ssl.SSLError):
            return Answer(said.partition(b"\r\n\r\n")[2], is_whole=False)
    return Answer(said.partition(b"\r\n\r\n")[2], is_whole=True)
