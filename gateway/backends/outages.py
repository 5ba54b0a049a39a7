"""When a backend of a region comes back after an outage: not at its first good word."""

from __future__ import annotations

from adapters.errors import FailureClass
from gateway.routing.health import ALL, BackendHealth


class Outage:
    """Instants are monotonic seconds."""

    __slots__ = ("_began", "_return_after", "_was_well", "_well_since")

    def __init__(self, return_after: float) -> None:
        """``return_after``: seconds for which it must have been well, without a break."""
        self._return_after = return_after
        self._began: float | None = None
        self._well_since: float | None = None
        self._was_well = False

    def hear(self, now: float, *, well: bool | None) -> None:
        """The backend said of itself how it is, or answered a call; None: it said nothing. One that
        was never well yet only starts late. One that says nothing for as long as it would have to
        be well is let go, as a rest ends: no call would ever find out."""
        if well is None:
            if self._began is not None and now - self._began >= self._return_after:
                self._began = self._well_since = None
        elif not well:
            self._strike(now)
        elif self._began is None:
            self._was_well = True
        elif self._well_since is None:
            self._well_since = now

    def failed(self, health: BackendHealth, now: float) -> None:
        """A call has failed there, after which its health is this: it is out of reach where calls
        could not reach it twice in a row."""
        everywhere = health.scopes.get(ALL)
        if everywhere is None or not everywhere.hard or everywhere.until <= now:
            return
        if everywhere.cause == FailureClass.UNREACHABLE.slug:
            self._was_well = True
            self._strike(now)

    @property
    def goes_on(self) -> bool:
        """It began, and nobody has asked since whether it is over."""
        return self._began is not None

    @property
    def back_at(self) -> float | None:
        """When it comes back, should it stay well; None while it is not."""
        return None if self._well_since is None else self._well_since + self._return_after

    def _strike(self, now: float) -> None:
        if self._was_well:
            self._began, self._well_since = now, None

    def keeps_away(self, now: float) -> bool:
        """Whether calls that another backend can take should go there."""
        if self._began is None:
            return False
        back_at = self.back_at
        if back_at is None or now < back_at:
            return True
        self._began = self._well_since = None
        return False
