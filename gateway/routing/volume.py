"""How many calls each model had in the last 24 hours, in hourly buckets. Bounded and pure."""

from __future__ import annotations

_HOURS = 24
_HOUR_S = 3600


Calls = dict[tuple[str, int], int]
"""(model, hour since the epoch) -> calls."""


class CallVolume:
    """Counts by model. The oldest hour counts in part, so that the sum falls smoothly.

    Where other processes serve too, each ``take_new`` is for the ``add_others`` of these.
    """

    def __init__(self) -> None:
        self._hours: dict[str, dict[int, int]] = {}
        self._known: Calls | None = None
        """What others know too; None before the past is known."""

    def add(self, model: str, epoch_s: float) -> None:
        """Counts one call of the model at ``epoch_s``, seconds since the epoch."""
        hours = self._hours.get(model)
        if hours is None:
            hours = self._hours[model] = {}
        hour = int(epoch_s) // _HOUR_S
        hours[hour] = hours.get(hour, 0) + 1
        if len(hours) > _HOURS + 1:
            _forget_before(hours, hour)

    def restore(self, past: Calls) -> None:
        """Adds what the ledger knows. Once."""
        self._known = {}
        self.add_others(past)

    def add_others(self, counts: Calls) -> None:
        """Adds calls that others know of; nothing before ``restore``, for it will have them."""
        if self._known is None:
            return
        for (model, hour), calls in counts.items():
            hours = self._hours.setdefault(model, {})
            hours[hour] = hours.get(hour, 0) + calls
            _forget_before(hours, max(hours))
            self._known[model, hour] = self._known.get((model, hour), 0) + calls

    def take_new(self) -> Calls:
        """What was added here since the last time."""
        known = self._known
        if known is None:
            return {}
        counts = {
            (model, hour): calls
            for model, hours in self._hours.items()
            for hour, calls in hours.items()
        }
        self._known = counts
        new = {key: calls - known.get(key, 0) for key, calls in counts.items()}
        return {key: calls for key, calls in new.items() if calls}

    def per_day(self, model: str, epoch_s: float) -> float:
        """Calls of the model in the 24 hours before ``epoch_s``."""
        hours = self._hours.get(model)
        if not hours:
            return 0.0
        now = int(epoch_s) // _HOUR_S
        elapsed = epoch_s / _HOUR_S - now
        oldest = hours.get(now - _HOURS, 0) * (1.0 - elapsed)
        return oldest + sum(calls for hour, calls in hours.items() if now - _HOURS < hour <= now)


def _forget_before(hours: dict[int, int], hour: int) -> None:
    for old in [known for known in hours if known < hour - _HOURS]:
        del hours[old]
