"""One POST to a URL of a caller: where it may go, how long it may take, and what it heeds."""

from __future__ import annotations

import base64
import contextlib
import http.client
import socket
import threading
from collections.abc import Iterator, Sequence

import pytest

from local_runtime.public_addresses import Forbidden
from local_runtime.webhook_post import (
    ALLOW_PRIVATE,
    SECRET,
    WebhookRules,
    post,
    rules_of,
)

ANYWHERE = WebhookRules(allow_private=True)
OK = b"HTTP/1.1 204 No Content\r\n\r\n"


class Server:
    """Takes connections in a thread, and says to each what it is given."""

    def __init__(self, listener: socket.socket, says: bytes, hangs: threading.Event | None) -> None:
        self.port: int = listener.getsockname()[1]
        self.heard: list[bytes] = []
        self._listener = listener
        self._says = says
        self._hangs = hangs
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://hooks.example:{self.port}/hook?team=a"

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                with connection:
                    heard = connection.recv(65536)
                    while heard and b"{}" not in heard:
                        heard += connection.recv(65536)
                    self.heard.append(heard)
                    connection.sendall(self._says)
                    if self._hangs is not None:
                        self._hangs.wait()


@contextlib.contextmanager
def serving(says: bytes = OK, hangs: threading.Event | None = None) -> Iterator[Server]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = Server(listener, says, hangs)
        try:
            yield server
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            if hangs is not None:
                hangs.set()
            server.thread.join()


def local(host: str, port: int) -> Sequence[str]:
    return ["127.0.0.1"]


def test_what_is_posted_names_its_host_and_holds_no_password() -> None:
    with serving() as server:
        url = server.url.replace("://", "://user:secret@")
        assert post(url, b"{}", {"webhook-id": "a"}, ANYWHERE, resolve=local) == 204
    [heard] = server.heard
    head = heard.decode().lower()
    assert head.startswith("post /hook?team=a http/1.1\r\n")
    assert f"host: hooks.example:{server.port}\r\n" in head
    assert "webhook-id: a\r\n" in head
    assert "secret" not in head


@pytest.mark.parametrize("address", ["127.0.0.1", "10.1.2.3", "169.254.169.254", "::1", "fd00::1"])
def test_a_private_network_is_refused_and_its_address_is_not_told(address: str) -> None:
    """Nothing is dialled."""
    with serving() as server, pytest.raises(Forbidden) as refused:
        post(server.url, b"{}", {}, WebhookRules(), resolve=lambda host, port: [address])
    assert server.heard == []
    assert address not in str(refused.value)
    assert ALLOW_PRIVATE in str(refused.value)


def test_where_a_cloud_tells_a_machine_of_itself_is_dialled_for_nobody() -> None:
    with serving() as server, pytest.raises(Forbidden, match="no receiver is there"):
        post(server.url, b"{}", {}, ANYWHERE, resolve=lambda host, port: ["169.254.169.254"])
    assert server.heard == []


def test_of_several_addresses_those_that_may_be_dialled_are() -> None:
    """The first one takes no connection: nobody listens there."""
    with serving() as server:
        found = ["127.0.0.2", "127.0.0.1"]
        assert post(server.url, b"{}", {}, ANYWHERE, resolve=lambda host, port: found) == 204


def test_a_redirect_is_an_answer_like_any_other() -> None:
    moved = b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1/\r\ncontent-length: 0\r\n\r\n"
    with serving(moved) as server:
        assert post(server.url, b"{}", {}, ANYWHERE, resolve=local) == 302
    assert len(server.heard) == 1


def test_a_receiver_that_says_nothing_is_left_when_its_time_is_up() -> None:
    left = pytest.raises((OSError, http.client.HTTPException))
    with serving(b"", threading.Event()) as server, left:
        post(server.url, b"{}", {}, ANYWHERE, resolve=local, timeout_s=0.05)


def test_a_receiver_that_never_ends_its_answer_is_believed_its_status_in_its_time() -> None:
    with serving(b"HTTP/1.1 200 OK\r\nx: ", threading.Event()) as server:
        assert post(server.url, b"{}", {}, ANYWHERE, resolve=local, timeout_s=0.5) == 200


def test_what_the_environment_says() -> None:
    one, two = (base64.b64encode(letter * 24).decode() for letter in (b"a", b"b"))
    assert rules_of({}) == WebhookRules()
    said = {SECRET: f"whsec_{one} whsec_{two}", ALLOW_PRIVATE: "1"}
    assert rules_of(said) == WebhookRules((b"a" * 24, b"b" * 24), True)
    for bad in ("hunter2", "whsec_", "whsec_%%"):
        with pytest.raises(ValueError, match=SECRET) as refused:
            rules_of({SECRET: bad})
        assert bad == "whsec_" or bad not in str(refused.value)
