"""How many calls each model had in the last 24 hours, in hourly buckets. Bounded and pure."""

from __future__ import annotations

_HOURS = 24
_HOUR_S = 3600


class CallVolume:
    """Counts by model. The oldest hour counts in part, so that the sum falls smoothly."""

    def __init__(self) -> None:
        self._hours: dict[str, dict[int, int]] = {}

    def add(self, model: str, epoch_s: float) -> None:
        """Counts one call of the model at ``epoch_s``, seconds since the epoch."""
        hours = self._hours.get(model)
        if hours is None:
            hours = self._hours[model] = {}
        hour = int(epoch_s) // _HOUR_S
        hours[hour] = hours.get(hour, 0) + 1
        if len(hours) > _HOURS + 1:
            for old in [known for known in hours if known < hour - _HOURS]:
                del hours[old]

    def restore(self, counts: dict[tuple[str, int], int]) -> None:
        """Adds (model, hour since the epoch) -> calls, as the ledger knows them."""
        for (model, hour), calls in counts.items():
            hours = self._hours.setdefault(model, {})
            hours[hour] = hours.get(hour, 0) + calls

    def per_day(self, model: str, epoch_s: float) -> float:
        """Calls of the model in the 24 hours before ``epoch_s``."""
        hours = self._hours.get(model)
        if not hours:
            return 0.0
        now = int(epoch_s) // _HOUR_S
        elapsed = epoch_s / _HOUR_S - now
        oldest = hours.get(now - _HOURS, 0) * (1.0 - elapsed)
        return oldest + sum(calls for hour, calls in hours.items() if now - _HOURS < hour <= now)
