"""The Unix socket in the data folder, by which whoever runs the gateway reaches it without a key.

Only the user that the gateway runs as may open it, and root; the system tells of each connection
whose it is (``SO_PEERCRED``, man 7 unix).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import pwd
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.api.routes import Application
from gateway.cli.serving.crowd import Crowd
from gateway.cli.serving.listener import ListenerProtocol

log = logging.getLogger("spillgate")

FILE = "gateway.sock"
_CREDENTIALS = struct.Struct("3i")
"""Process, user, group: ``struct ucred``."""
_BACKLOG = 64


@contextlib.contextmanager
def short_path(folder: Path, name: str = FILE) -> Iterator[str]:
    """A path of the socket however long the folder's is: ``sun_path`` holds 108 bytes. Raises
    OSError for a folder that is not there."""
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{name}"
    finally:
        os.close(descriptor)


class LocalSocket:
    """Listens in ``folder``; ``socket`` is None where that cannot be, which keeps no gateway from
    serving: another one listens there, or the folder's file system has no sockets."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._made = 0
        self.socket = self._listening(folder)

    def _listening(self, folder: Path) -> socket.socket | None:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            if answers(folder):
                raise OSError(errno.EADDRINUSE, "another gateway listens there")
            aside = f"{FILE}.{os.getpid()}"
            with short_path(folder, aside) as path:
                os.fchmod(listener.fileno(), 0o600)  # before it has a name that others could open
                listener.bind(path)
            listener.listen(_BACKLOG)
            listener.setblocking(False)
            os.rename(folder / aside, self._path)
            self._made = self._path.stat().st_ino
        except OSError as error:
            listener.close()
            log.warning("no local commands by %s: %s", self._path, error.strerror or error)
            return None
        return listener

    def close(self) -> None:
        """Takes the socket away, unless another gateway has put its own there since."""
        if self.socket is not None:
            self.socket.close()
            with contextlib.suppress(OSError):
                if self._path.stat().st_ino == self._made:
                    self._path.unlink()


def answers(folder: Path) -> bool:
    """Whether a gateway listens there."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.settimeout(1.0)
        try:
            with short_path(folder) as path:
                asking.connect(path)
        except OSError:
            return False
        return True


class OwnerProtocol(ListenerProtocol):
    """One connection by the socket; one of another user than the gateway's, or root, is closed."""

    application: Application

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The system says who it is."""
        user = _peer(transport)
        if user in (os.geteuid(), 0):
            self._app = _ByOwner(self.application, user)
        else:
            self._app = _nobody
            log.warning("a connection of the user %d by the local socket is closed", user)
            transport.close()
        super().connection_made(transport)

    def identify(self) -> None:
        """Whoever runs the gateway is never one too many."""
        super(ListenerProtocol, self).identify()


def owner_protocol(crowd: Crowd, application: Application) -> type[OwnerProtocol]:
    """The class of its connections."""
    own = {"crowd": crowd, "application": application}
    return type("OwnerProtocol", (OwnerProtocol,), own)


def _peer(transport: asyncio.BaseTransport) -> int:
    """The user at the other end, as it was when it connected."""
    descriptor = os.dup(transport.get_extra_info("socket").fileno())
    with socket.socket(fileno=descriptor) as same:
        told = same.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    user: int = _CREDENTIALS.unpack(told)[1]
    return user


class _ByOwner:
    def __init__(self, application: Application, user: int) -> None:
        self._app: ASGIApp = application.by_owner(_name(user))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)


async def _nobody(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers nothing."""


def _name(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)
