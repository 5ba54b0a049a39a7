"""When to stop asking a store that does not answer. Pure: time is passed in."""

from __future__ import annotations


class Breaker:
    """Closed until something fails; then open for a pause that doubles with each failed probe.

    After the pause one call is let through as the probe; the others are refused until it has
    answered, or until it has been lost for another pause. All times are in seconds on one scale
    that never goes back.
    """

    def __init__(self, *, pause_s: float = 0.5, longest_s: float = 5.0) -> None:
        self._pause = self._shortest = pause_s
        self._longest = longest_s
        self._until: float | None = None
        self._probing = False

    @property
    def closed(self) -> bool:
        """Whether calls go out as usual."""
        return self._until is None

    def allows(self, now: float) -> bool:
        """Whether a call may go out. True for an open breaker makes that call the probe."""
        if self._until is None:
            return True
        if now < self._until:
            return False
        self._until = now + self._pause
        self._probing = True
        return True

    def succeeded(self) -> None:
        """The server answered: the breaker closes."""
        self._until = None
        self._probing = False
        self._pause = self._shortest

    def failed(self, now: float) -> None:
        """Of several calls that fail together only the first, or the probe, counts."""
        if self._until is not None and not self._probing:
            return
        self._until = now + self._pause
        self._pause = min(2 * self._pause, self._longest)
        self._probing = False
