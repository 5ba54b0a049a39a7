"""What a supervisor is asked to do: by its stdin, and by signals."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable

from local_runtime.protocol.scale_events import Keep, decode_keep
from local_runtime.protocol.wire import FrameReader


class Orders:
    """``ended`` is set when stdin ends, or a signal asks for the end. Keep frames may come before
    that, to a supervisor whose workers come and go. Made on the loop that it runs on."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()
        self._follow: Callable[[Keep], None] | None = None
        self._newest: Keep | None = None
        self._frames = FrameReader()
        loop = asyncio.get_running_loop()
        loop.add_reader(sys.stdin.fileno(), self._read)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.ended.set)

    def obey(self, follow: Callable[[Keep], None]) -> None:
        """Passes every Keep on to ``follow`` from now on, the last one before included."""
        self._follow = follow
        if self._newest is not None:
            follow(self._newest)

    def _read(self) -> None:
        data = os.read(sys.stdin.fileno(), 65536)
        if not data:
            asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
            self.ended.set()
        for payload in self._frames.feed(data):
            self._newest = decode_keep(payload)
            if self._follow is not None:
                self._follow(self._newest)
