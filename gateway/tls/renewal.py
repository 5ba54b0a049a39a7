"""The listener's certificate, which can be renewed while it serves."""

from __future__ import annotations

import ssl
from collections.abc import Callable

from gateway.tls.context import server_context
from gateway.tls.files import TlsMaterial


class ServerCertificate:
    """Connections that are open keep theirs; new ones get what was read last.

    The listener keeps one context for life, which hands each handshake on to the newest. A
    certificate loaded into the old one would stand beside the old where its key is of another
    kind, and the old one would still be shown.
    """

    def __init__(self, find: Callable[[], TlsMaterial]) -> None:
        """``find`` names the files, and may make them. Raises TlsError."""
        self._find = find
        self.material = find()
        self.context = self._newest = server_context(self.material)
        self.context.sni_callback = self._hand_on

    def renew(self) -> TlsMaterial:
        """Reads the files again. Raises TlsError, and then the old certificate stays."""
        material = self._find()
        self._newest = server_context(material)
        self.material = material
        return material

    def _hand_on(self, handshake: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        """OpenSSL calls this for clients too that name no server."""
        if self._newest is not self.context:
            handshake.context = self._newest
