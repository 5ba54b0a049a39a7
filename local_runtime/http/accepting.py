"""Takes the connections of one server, and agrees with each on TLS where the server speaks it.

The loop's own server takes all that come, also when descriptors run out: it ends those for which
there is none, and shows a connection to nobody before TLS is agreed upon, though it holds a
descriptor from its first moment. So here one is taken when there is room for it, others wait in
the kernel's queue, and those that keep agreeing on TLS make way, the oldest first.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable

from local_runtime.http.strangers import Strangers

_SHUTDOWN_S = 5.0
"""A client has so long to answer the end of TLS (RFC 8446, 6.1), and is cut then."""
_PAUSE_S = 0.001
"""Those that were closed to make room are gone by then, and others have taken what was theirs."""
_AT_ONCE = 8
"""So many handshakes make way together."""
_TIME_TO_AGREE_S = 1.0
"""Who has just come keeps so long to agree on TLS, before which it can be told nothing."""


class Headroom:
    """Whether there is room for another connection: for a server that counts them."""

    def is_left(self, coming: int) -> bool:
        """Whether one more may be taken now. ``coming``: those that were taken, and of which the
        protocol has not been told."""
        return True

    def is_others_turn(self, coming: int) -> bool:
        """Whether another process at the same port should take it: it is taken here all the same
        where that has not after a moment. ``coming``: as above."""
        return False

    def make(self) -> None:
        """Closes connections that can be missed. Called where none agrees on TLS any more."""


class Acceptor:
    """Accepts on ``listening``, which it owns, while ``room`` is left; ``make`` makes the protocol
    of each connection.

    With ``tls`` at most ``most`` clients agree on it at a time, each ``within_s`` seconds.
    """

    def __init__(
        self,
        listening: socket.socket,
        make: Callable[[], asyncio.Protocol],
        *,
        room: Headroom,
        tls: ssl.SSLContext | None,
        within_s: float,
        most: int,
    ) -> None:
        self._listening = listening
        self._make = make
        self._room = room
        self._tls = tls
        self._within_s = None if tls is None else within_s
        self._shutdown_s = None if tls is None else _SHUTDOWN_S
        self._agreeing = Strangers(most)
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        self._paused: asyncio.TimerHandle | None = None
        self._read()

    @property
    def agrees(self) -> bool:
        """Connections were taken that the protocol has not been told of."""
        return bool(self._tasks)

    def stop(self) -> None:
        """Takes no further connection. A second time changes nothing."""
        if self._paused is not None:
            self._paused.cancel()
        if self._listening.fileno() >= 0:
            self._loop.remove_reader(self._listening)
            self._listening.close()

    def close(self) -> None:
        """Takes no further connection, and ends those that have not agreed on TLS."""
        self.stop()
        while self._agreeing.close_oldest():
            pass

    async def wait_closed(self) -> None:
        """Until nobody agrees on TLS any more."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _read(self) -> None:
        self._paused = None
        self._loop.add_reader(self._listening, self._accept)

    def _pause(self, then: Callable[[], None]) -> None:
        """Who comes waits in the kernel's queue."""
        self._loop.remove_reader(self._listening)
        self._paused = self._loop.call_later(_PAUSE_S, then)

    def _accept(self) -> None:
        """One at a time: what others have sent is read in between."""
        if not self._room.is_left(len(self._tasks)):
            self._make_room()
        elif self._room.is_others_turn(len(self._tasks)):
            self._pause(self._accept_what_is_left)
        else:
            self._take()

    def _accept_what_is_left(self) -> None:
        """The others did not take it."""
        self._read()
        if self._room.is_left(len(self._tasks)):
            self._take()

    def _take(self) -> None:
        try:
            accepted, _ = self._listening.accept()
        except (BlockingIOError, ConnectionError):
            return
        except OSError:  # of descriptors, or memory
            self._make_room()
            return
        accepted.setblocking(False)
        task = self._loop.create_task(self._connect(accepted))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _make_room(self) -> None:
        idle_since = self._loop.time() - _TIME_TO_AGREE_S
        closed = [self._agreeing.close_oldest(idle_since) for _ in range(_AT_ONCE)]
        if not any(closed):
            self._room.make()
        self._pause(self._read)

    async def _connect(self, accepted: socket.socket) -> None:
        handshake = _Handshake(accepted, self._loop.time())
        if self._tls is not None:
            self._agreeing.add(handshake)
        try:
            await self._loop.connect_accepted_socket(
                self._make,
                accepted,
                ssl=self._tls,
                ssl_handshake_timeout=self._within_s,
                ssl_shutdown_timeout=self._shutdown_s,
            )
        except OSError:  # no word of TLS, none in time, or the client is gone
            pass
        finally:
            self._agreeing.discard(handshake)


class _Handshake:
    """One connection that has not agreed on TLS."""

    def __init__(self, accepted: socket.socket, came: float) -> None:
        self._accepted = accepted
        self._came = came

    def owes_nothing(self) -> bool:
        """Nothing was asked yet."""
        return True

    def idle_since(self) -> float:
        """When it came."""
        return self._came

    def is_untaken(self) -> bool:
        """Nothing was said yet."""
        return False

    def give_up(self) -> None:
        """As ``close_idle``."""
        self.close_idle()

    def close_idle(self) -> None:
        """The loop, which has the socket, sees its end."""
        with contextlib.suppress(OSError):
            self._accepted.shutdown(socket.SHUT_RDWR)
