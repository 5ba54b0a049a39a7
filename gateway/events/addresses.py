"""Where a webhook may be sent: a name is resolved once, and what it led to is what is dialled.

A receiver is named by somebody who may mean harm, so what lies in private networks, on this
machine or at a cloud's own services is refused.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from local_runtime.public_addresses import Forbidden, may_be_dialled, tells_of_machine

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""(host, port) -> addresses. Raises OSError."""


class SystemResolver:
    """Names by the system's own resolver, on threads of its own: a server of names that hangs holds
    up no other work."""

    def __init__(self, threads: int = 16) -> None:
        self._threads = ThreadPoolExecutor(threads, "webhook-names")

    async def __call__(self, host: str, port: int) -> list[str]:
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._threads, _resolved, host, port)
        return list(dict.fromkeys(found))

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


def _resolved(host: str, port: int) -> list[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


async def dialled(host: str, port: int, resolve: Resolve, *, allow_private: bool) -> list[str]:
    """The addresses that may be dialled for a host, in the resolver's order. Raises Forbidden where
    there is none, and OSError for a name that leads nowhere."""
    addresses = await resolve(host, port)
    if not addresses:
        raise OSError(f"{host} has no address")
    fit = [one for one in addresses if may_be_dialled(one, allow_private=allow_private)]
    if not fit and allow_private:
        raise Forbidden(f"{host} is where a cloud tells a machine of itself: no receiver is there")
    if not fit:
        raise Forbidden(
            f"{host} lies in a private network; webhooks.allow_private lets it be reached"
        )
    return fit


def is_never_dialled(host: str) -> bool:
    """Whether it is an address at which no receiver may be, whatever is allowed."""
    return tells_of_machine(host)
