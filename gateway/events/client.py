"""The client of webhooks: one POST a connection, to an address that was looked at, and no further.

A connection is used for one message: kept ones would be found by their address, and two names that
share one would share what was checked of the other's certificate. Imports httpx: load it when
there is something to send.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from urllib.parse import urlsplit
from weakref import WeakValueDictionary

import httpx

from adapters.regular_files import checked
from gateway.events.addresses import Resolve, dialled
from gateway.events.attempts import NotReceived, Receiver, ReceiverAnswer
from local_runtime.public_addresses import Forbidden

# It would log the URL of every message, which may say what nobody else should know.
logging.getLogger("httpx").setLevel(logging.WARNING)

_MOST_ANSWER = 16 * 1024
"""Bytes of an answer that are read, so that a server may end in good order."""
_READ_S = 1.0
_MOST_HINT_S = 86_400.0
_NAMES_AT_ONCE = 2
"""Names of one owner that are looked up: a server of names that hangs takes a thread each."""


class WebhookClient:
    """A ``MessageClient`` over httpx. Follows no redirect, keeps no cookie, asks no proxy."""

    def __init__(self, resolve: Resolve) -> None:
        self._resolve = resolve
        self._looking = WeakValueDictionary[str, asyncio.Semaphore]()
        """Owner -> how many more of its names may be looked up."""
        self._clients: dict[str | None, httpx.AsyncClient] = {}

    async def post(self, target: Receiver, headers: dict[str, str], body: str) -> ReceiverAnswer:
        try:
            async with asyncio.timeout(target.timeout_s):
                return await self._post(target, headers, body)
        except TimeoutError:
            raise NotReceived(f"no answer within {target.timeout_s:g} s") from None
        except Forbidden as error:
            raise NotReceived(str(error)) from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError) as error:
            raise NotReceived(_said(error)) from None

    async def _post(self, target: Receiver, headers: dict[str, str], body: str) -> ReceiverAnswer:
        parts = urlsplit(target.url)
        host = parts.hostname or ""
        port = parts.port or (443 if parts.scheme.lower() == "https" else 80)
        allows = target.allow_private
        async with self._may_look(target.owner):
            addresses = await dialled(host, port, self._resolve, allow_private=allows)
        client = self._clients.get(target.ca_file) or self._make(target.ca_file)
        for last, address in ((one == addresses[-1], one) for one in addresses):
            request = client.build_request(
                "POST",
                httpx.URL(target.url).copy_with(host=address),
                headers={**headers, "host": parts.netloc, **_OWN},
                content=body.encode(),
                extensions={"sni_hostname": host, "timeout": _no_bounds()},
            )
            try:
                return await _answer(await client.send(request, stream=True))
            except httpx.ConnectError:
                if last:
                    raise
        raise AssertionError("there is an address")

    def _may_look(self, owner: str) -> asyncio.Semaphore:
        looking = self._looking.get(owner)
        if looking is None:
            looking = self._looking[owner] = asyncio.Semaphore(_NAMES_AT_ONCE)
        return looking

    def _make(self, ca_file: str | None) -> httpx.AsyncClient:
        client = self._clients[ca_file] = httpx.AsyncClient(
            verify=ssl.create_default_context(cafile=checked(ca_file)),
            follow_redirects=False,
            trust_env=False,
            limits=httpx.Limits(max_keepalive_connections=0),
        )
        return client

    async def aclose(self) -> None:
        for client in self._clients.values():
            await client.aclose()


_OWN = {"content-type": "application/json", "user-agent": "spillgate"}


def _no_bounds() -> dict[str, float | None]:
    """Of single steps: the whole attempt is bounded."""
    return dict.fromkeys(("connect", "read", "write", "pool"))


async def _answer(response: httpx.Response) -> ReceiverAnswer:
    """The status says all; of the body no more is read than a server needs to end in good order."""
    try:
        with contextlib.suppress(httpx.HTTPError, OSError):
            async with asyncio.timeout(_READ_S):
                read = 0
                async for piece in response.aiter_raw():
                    read += len(piece)
                    if read > _MOST_ANSWER:
                        break
    finally:
        await response.aclose()
    return ReceiverAnswer(response.status_code, _retry_after(response.headers.get("retry-after")))


def _retry_after(text: str | None) -> float | None:
    """Of a number of seconds; a date is left out, as servers' clocks are their own."""
    if text is None or not text.strip().isdecimal() or len(text) > 9:
        return None
    return min(float(text), _MOST_HINT_S)


def _said(error: Exception) -> str:
    """On one line, without the URL."""
    said = " ".join(str(error).split())[:200]
    return f"{type(error).__name__}: {said}" if said else type(error).__name__
