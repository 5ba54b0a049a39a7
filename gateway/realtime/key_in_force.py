"""A conversation lasts no longer than the key that began it is good."""

from __future__ import annotations

from gateway.api.requests.request import RequestContext
from gateway.calls.state import CallState
from gateway.shared_timer import SharedTimer
from gateway.storage.base import StorageUnavailable
from gateway.storage.key_store import KeyStore

_LOOK_S = 2.0


class KeyInForce:
    """Stops ``state`` when the key that its request showed is revoked, was rotated or has expired;
    of a client token, when its own key is."""

    def __init__(
        self, keys: KeyStore, context: RequestContext, state: CallState, timer: SharedTimer
    ) -> None:
        self._keys = keys
        self._text = context.key()
        """Empty where its caller needs none: the system says who it is."""
        token = context.principal.token
        self._lender = None if token is None else bytes.fromhex(token.key_digest)
        self._state = state
        self._timer = timer
        self._next = 0.0

    def watch(self) -> None:
        """Looks every few seconds, until ``end``."""
        self._timer.watch(self, self._look)

    def end(self) -> None:
        """Looks no more."""
        self._timer.unwatch(self)

    def holds(self) -> bool:
        """Whether it is good now; where it is not, the call is stopped."""
        if self._is_good():
            return True
        self._state.stop("key")
        return False

    def _look(self, now: float) -> None:
        if now >= self._next:
            self._next = now + _LOOK_S
            if not self.holds():
                self.end()

    def _is_good(self) -> bool:
        if not self._text:
            return True
        try:
            if self._keys.find(self._text) is None:
                return False
            return self._lender is None or self._keys.of_digest(self._lender) is not None
        except StorageUnavailable:  # as it was when it was last looked at
            return True
