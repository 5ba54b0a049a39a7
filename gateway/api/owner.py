"""Who needs no key: the system's user that the gateway runs as, by its Unix socket."""

from __future__ import annotations

import copy
from typing import Self

from gateway.api.middleware import AuthMiddleware
from gateway.api.requests.request import RequestContext
from gateway.types import Principal

_PATHS = ("/usage", "/v1/route/explain")
_BELOW = ("/admin/", "/usage/")
"""For the owner operates the gateway. A call is made with a key, whose limits hold."""


class OwnerMiddleware(AuthMiddleware):
    """As its parent, for connections whose other end the system has named; a request that shows a
    key is that key's all the same."""

    _owner: Principal

    def by(self, user: str) -> Self:
        """For a connection of the system's ``user``, whose acts are ``os:USER`` in the audit
        log."""
        found, name = copy.copy(self), f"os:{user}"
        found._owner = Principal(key_id=name, user=name, role="admin")
        return found

    def _principal(self, context: RequestContext) -> Principal:
        path = context.path
        operates = path in _PATHS or path.startswith(_BELOW)
        # One that two keys stand in, or none that can be read, is told as anywhere.
        if operates and b"authorization" not in context.headers and not context.key():
            return self._owner
        return super()._principal(context)
