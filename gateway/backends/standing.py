"""Whether one backend may be asked: it is drained, or rests, or says that it is not ready."""

from __future__ import annotations

from typing import Literal

from adapters.base import Backend, ReportsStarts
from adapters.types import Probe
from gateway.backends.learned import Learned
from gateway.backends.outages import Outage
from gateway.backends.rests import Rests

Blocked = Literal["", "drained", "not_ready", "cooling_down", "returning"]
_WELL: tuple[Blocked, bool] = ("", False)
_ILL: tuple[Blocked, bool] = ("not_ready", True)
_RETURNING: tuple[Blocked, bool] = ("returning", True)


class Standing:
    """Instants are monotonic seconds."""

    __slots__ = (
        "_adapter",
        "_had_no_slots",
        "_ill_since",
        "_in_doubt",
        "_learned",
        "_rests",
        "_unasked",
        "_unwell",
        "asked_at",
        "detail",
        "draining",
        "outage",
        "probed_ready",
        "starts",
        "stuck",
        "told",
    )

    def __init__(
        self, adapter: Backend, learned: Learned, rests: Rests, outage: Outage | None = None
    ) -> None:
        self.outage = outage
        """Of a backend that runs in a region."""
        self.draining = False
        """It is sent no more calls."""
        self.starts = adapter if isinstance(adapter, ReportsStarts) else None
        self.probed_ready: bool | None = None
        """Whether a call would find a warm worker, as it said last; None where it said nothing."""
        self.detail = ""
        """What it said beside that, as anybody may know it."""
        self.told = ""
        """The same for an operator."""
        self.asked_at: float | None = None
        """When it said so; None where it is not asked, or was not yet."""
        self.stuck = False
        """Calls wait at the platform and no worker can come, as it said last."""
        self._had_no_slots = False
        """When it said so, it had none: news of some is newer than that word."""
        self._unwell = False
        """Its last word was not a good one."""
        self._unasked = False
        """It could not be asked, when that was tried last."""
        self._ill_since = 0.0
        """Since when each of its words was that it is ill, where it is."""
        self._in_doubt = False
        """It is unwell, or an outage of it may go on: only then is it asked what that means."""
        self._adapter = adapter
        self._learned = learned
        self._rests = rests

    def of_call(self, model: str, user: str, now: float) -> tuple[Blocked, bool]:
        """(Why it should not be asked, whether it may be where no other can take the call)."""
        if self.draining:
            return "drained", False
        rests = self._rests
        if rests.health.scopes and (resting := rests.resting(model, user, now)):
            return "cooling_down", not resting.hard
        if self._learned.cold is None and self._adapter.slots == 0 and self.ready_in() is None:
            return "not_ready", False
        return _WELL if not self._in_doubt else self._doubtful(now)

    def _doubtful(self, now: float) -> tuple[Blocked, bool]:
        if self._unwell and self.ill:
            return _ILL
        if self.outage is not None and self.outage.keeps_away(now):
            return _RETURNING
        self._in_doubt = self._unwell
        return _WELL

    def blocked(self, now: float, model: str = "", user: str = "") -> Blocked:
        """Why it should not be asked now; empty when it may. Without a model: why everybody's calls
        of any model go elsewhere."""
        return self.of_call(model, user, now)[0]

    def serves_nobody(self, now: float, model: str) -> Blocked:
        """Why calls of the model are refused there, even where no other backend is; or empty."""
        blocked, last_resort = self.of_call(model, "", now)
        return "" if last_resort else blocked

    @property
    def ill(self) -> bool:
        """It says of itself that a call sent now would not be served. One that scales from zero
        and has no worker is not ill, and neither is one whose start is waited for, unless the last
        start came to nothing."""
        if self._learned.cold is not None:
            return self.stuck and not self._has_slots_now
        starting = self._adapter.slots == 0 and self.ready_in() is not None
        return self.says_not_ready and (self.stuck or not starting)

    @property
    def away(self) -> bool:
        """It is ill, or cannot be asked how it is."""
        return self._unasked or self.ill

    def ill_for(self, now: float) -> float:
        """Seconds for which it has said so, and answered nobody."""
        return now - self._ill_since if self.ill else 0.0

    @property
    def says_not_ready(self) -> bool:
        """Its last word holds, and is that a call would find no warm worker."""
        return self.probed_ready is False and not self._has_slots_now

    @property
    def _has_slots_now(self) -> bool:
        """It had none when it was asked last, and has some."""
        return bool(self._had_no_slots and self._adapter.slots)

    @property
    def has_started(self) -> bool:
        """What its starts take was seen."""
        return self.starts is not None and bool(self.starts.start_stages)

    def ready_in(self) -> float | None:
        """Seconds until a worker should be ready; None where nobody can say, or wait."""
        return None if self.starts is None else self.starts.ready_in()

    def hear(self, probe: Probe, now: float) -> None:
        """Takes over what the backend says of itself; a good word ends its rests."""
        was_ill, was_unwell = self.ill, self._unwell
        self.probed_ready, self.stuck = probe.ready, probe.stuck
        self.detail, self.told = probe.detail, probe.told
        self._unasked = bool(probe.why)
        self.asked_at = now if probe.asked else None
        self._had_no_slots = self._adapter.slots == 0
        self._unwell = probe.stuck or not probe.ready
        if not was_ill:
            self._ill_since = now
        if probe.ready:
            self._rests.add_good_word(is_news=was_unwell)
        self._in_doubt = self._unwell
        if self.outage is not None:
            self.outage.hear(now, well=self._word(probe))
            self._in_doubt = self._unwell or self.outage.goes_on

    def failed(self, now: float) -> None:
        """A call has failed there, of which its health knows already."""
        if self.outage is not None:
            self.outage.failed(self._rests.health, now)
            self._in_doubt = self._unwell or self.outage.goes_on

    def _word(self, probe: Probe) -> bool | None:
        """Whether it says that it is well; None where it says neither."""
        if self.ill:
            return False
        at_zero = self._learned.cold is not None and probe.warm_workers is not None
        return True if probe.ready or at_zero else None

    def answered(self, now: float) -> None:
        """A worker has answered since it said that it is not ready, if it did."""
        if self.outage is not None:
            self.outage.hear(now, well=True)
        self.probed_ready = self.probed_ready or None
