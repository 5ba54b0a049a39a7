"""One POST to a URL that a caller named: signed, to an address that was looked at, and no further.

What whoever runs the workers says of it is in their environment: ``SPILLGATE_WEBHOOK_SECRET``, with
which messages are signed as Standard Webhooks has it (several, by blanks, while one is exchanged
for another), and ``SPILLGATE_WEBHOOK_ALLOW_PRIVATE=1``, which lets them go to private networks and
this machine. Source:
https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import hmac
import http.client
import socket
import ssl
import threading
import time
import urllib.parse
from collections.abc import Callable, Mapping, Sequence

import msgspec

from local_runtime.public_addresses import Forbidden, may_be_dialled

TIMEOUT_S = 10.0
"""Of one attempt as a whole, once the name is resolved."""
SECRET = "SPILLGATE_WEBHOOK_SECRET"  # noqa: S105 - the variable's name
ALLOW_PRIVATE = "SPILLGATE_WEBHOOK_ALLOW_PRIVATE"
_PREFIX = "whsec_"

Resolve = Callable[[str, int], Sequence[str]]
"""(host, port) -> addresses. Raises OSError."""


class WebhookRules(msgspec.Struct, frozen=True):
    """``secrets``: what messages are signed with; none: they are not."""

    secrets: tuple[bytes, ...] = ()
    allow_private: bool = False


def rules_of(environ: Mapping[str, str]) -> WebhookRules:
    """Raises ValueError, which repeats none of it, for a secret that is none."""
    secrets = tuple(map(_secret, environ.get(SECRET, "").split()))
    return WebhookRules(secrets, environ.get(ALLOW_PRIVATE, "") in ("1", "true", "yes"))


def _secret(text: str) -> bytes:
    try:
        found = base64.b64decode(text.removeprefix(_PREFIX), validate=True)
    except binascii.Error:
        found = b""
    if not text.startswith(_PREFIX) or not found:
        raise ValueError(f"{SECRET} is {_PREFIX} and base64; `spillgate webhooks secret` makes one")
    return found


def headers_of(id: str, body: bytes, secrets: Sequence[bytes], now_at: float) -> dict[str, str]:
    """``id`` is the same at every attempt. ``now_at``: seconds since the epoch."""
    sent = str(int(now_at))
    headers = {"webhook-id": id, "webhook-timestamp": sent}
    signed = b"%b.%b.%b" % (id.encode(), sent.encode(), body)
    signatures = [hmac.new(secret, signed, hashlib.sha256).digest() for secret in secrets]
    if signatures:
        told = (base64.b64encode(one).decode() for one in signatures)
        headers["webhook-signature"] = " ".join(f"v1,{one}" for one in told)
    return headers


def resolved(host: str, port: int) -> list[str]:
    """By the system's own resolver."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def post(
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    rules: WebhookRules,
    *,
    resolve: Resolve = resolved,
    timeout_s: float = TIMEOUT_S,
    trust: ssl.SSLContext | None = None,
) -> int:
    """The status that came back. Follows no redirect, asks no proxy, reads no answer's body; the
    certificate is held against the name. Raises Forbidden, OSError or HTTPException."""
    parts = urllib.parse.urlsplit(url)
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    addresses = resolve(host, port)
    allows = rules.allow_private
    fit = [one for one in addresses if may_be_dialled(one, allow_private=allows)]
    if not fit and allows:
        raise Forbidden("it is where a cloud tells a machine of itself: no receiver is there")
    if not fit:
        raise Forbidden(f"it lies in a private network; {ALLOW_PRIVATE}=1 lets it be reached")
    context = None
    if parts.scheme == "https":
        context = trust or ssl.create_default_context()
    with _Attempt(timeout_s) as attempt:
        attempt.connect(fit, port, host, context)
        connection = http.client.HTTPConnection(host, port)
        connection.sock = attempt.socket
        target = urllib.parse.urlunsplit(("", "", parts.path or "/", parts.query, ""))
        named = {"Host": parts.netloc.rpartition("@")[2], "Content-Type": "application/json"}
        connection.request("POST", target, body, {**headers, **named})
        return connection.getresponse().status


class _Attempt:
    """A connection that is cut when its time is up, however the other end spends it."""

    def __init__(self, timeout_s: float) -> None:
        self.socket: socket.socket | None = None
        self._ends = time.monotonic() + timeout_s
        self._cut = threading.Timer(timeout_s, self._shut)
        self._cut.daemon = True

    def __enter__(self) -> _Attempt:
        self._cut.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._cut.cancel()
        if self.socket is not None:
            self.socket.close()

    def connect(
        self, addresses: Sequence[str], port: int, host: str, context: ssl.SSLContext | None
    ) -> None:
        for address in addresses:
            left_s = max(0.001, self._ends - time.monotonic())
            try:
                self.socket = socket.create_connection((address, port), timeout=left_s)
                break
            except OSError:
                if address == addresses[-1]:
                    raise
        assert self.socket is not None
        # From now on ``_shut`` alone ends a wait: what was read until then is still an answer.
        self.socket.settimeout(None)
        if time.monotonic() >= self._ends:
            raise TimeoutError("timed out")
        if context is not None:
            self.socket = context.wrap_socket(
                self.socket, server_hostname=host, do_handshake_on_connect=False
            )
            self.socket.do_handshake()

    def _shut(self) -> None:
        if self.socket is not None:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(self.socket, socket.SHUT_RDWR)
