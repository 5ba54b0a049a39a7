"""Requests without a good key: how many one address may send, what is counted and what is logged.

It is asked only when no key was found: a good key costs nothing here, and is never refused,
whatever else comes from its address.
"""

from __future__ import annotations

import ipaddress
import logging
from collections import OrderedDict
from math import ceil
from typing import Literal

from gateway.clock import Clock
from gateway.metrics import Metrics
from gateway.storage.key_store import WhyNot

log = logging.getLogger("spillgate")

FailedKey = WhyNot | Literal["missing", "malformed"]

MOST_ADDRESSES = 10_000
"""The one that failed longest ago is forgotten first."""
LOGGED_A_MINUTE = 600
"""Lines of the access log, for all addresses together."""
_MINUTE_S = 60.0


class _Rate:
    """GCRA: a minute's amount at once, then evenly."""

    __slots__ = ("_each_s", "_full_at")

    def __init__(self, a_minute: int) -> None:
        self._each_s = _MINUTE_S / a_minute
        self._full_at = 0.0

    def take(self, now: float) -> float:
        """0.0: one was taken; else the seconds until one can be, and nothing is."""
        full_at = max(self._full_at, now) + self._each_s
        wait_s = full_at - now - _MINUTE_S
        if wait_s > 1e-6:
            return wait_s
        self._full_at = full_at
        return 0.0


class FailedKeys:
    """Of one gateway process. ``a_minute``: how many one address may send."""

    def __init__(self, a_minute: int, *, clock: Clock, metrics: Metrics) -> None:
        self._a_minute = a_minute
        self._clock = clock
        self._metrics = metrics
        self._addresses: OrderedDict[str, _Rate] = OrderedDict()
        self._lines = _Rate(LOGGED_A_MINUTE)

    def __len__(self) -> int:
        return len(self._addresses)

    def refuse(self, client: str, why: FailedKey) -> int | None:
        """Counts one from the address ``client``. None: it is told that its key is not good; else
        the whole seconds after which it may try again."""
        now = self._clock.monotonic()
        wait_s = self._rate_of(network_of(client)).take(now)
        self._metrics.failed_keys.labels("limited" if wait_s else why).inc()
        return ceil(wait_s) if wait_s else None

    def logs(self) -> bool:
        """Whether one more line of the access log may be written."""
        return not self._lines.take(self._clock.monotonic())

    def _rate_of(self, network: str) -> _Rate:
        rate = self._addresses.pop(network, None) or _Rate(self._a_minute)
        self._addresses[network] = rate
        if len(self._addresses) > MOST_ADDRESSES:
            self._addresses.popitem(last=False)
        return rate


def network_of(client: str) -> str:
    """The address itself; of IPv6 its /64, of which one client has all."""
    if ":" not in client:
        return client
    try:
        address = ipaddress.IPv6Address(client.partition("%")[0])
    except ValueError:
        return client
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(address) >> 64 << 64, 64)))
