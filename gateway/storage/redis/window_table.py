"""The windows that a Redis server cannot tell by itself, as the script is told of them.

A server knows no time zones, but its clock decides: so it is sent the instants at which the windows
around now begin, and finds its own time among them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from gateway.storage.base import Claim
from gateway.types import MICRO
from gateway.windows import RATE_US, edges, read_window

_FOREVER = 1 << 62
_encode = msgspec.msgpack.Encoder().encode


class WindowTable:
    """Makes the table of the windows that claims name, and remembers it until one begins."""

    def __init__(self, time: Callable[[], float]) -> None:
        """``time``: seconds since the epoch, not days away from those of the server."""
        self._time = time
        self._known: dict[tuple[str, ...], tuple[bytes, int]] = {}

    def of(self, claims: Iterable[Claim]) -> bytes:
        """Empty where every window is one word."""
        texts = {one.window for one in claims if one.window and one.window not in RATE_US}
        return self._table(tuple(sorted(texts))) if texts else b""

    def _table(self, texts: tuple[str, ...]) -> bytes:
        now = round(self._time() * MICRO)
        found = self._known.get(texts)
        if found is None or found[1] <= now:
            if len(self._known) >= 1024:
                self._known.clear()
            found = self._known[texts] = _made(texts, now)
        return found[0]


def _made(texts: tuple[str, ...], now_us: int) -> tuple[bytes, int]:
    """The table, and until when there is none that knows more."""
    table: dict[str, tuple[int, ...]] = {}
    until = _FOREVER
    for text in texts:
        window = read_window(text)
        if window.rolling:
            table[text] = (1, window.length_us, window.step_us)
        else:
            known = edges(window, now_us)
            table[text] = (0, *known)
            until = min(until, next(edge for edge in known if edge > now_us))
    return _encode(table), until
