"""How a worker is doing: a pure reducer over what happens to calls, and what follows from it.

The four figures and their meaning are those of Potassium's ``/_k/status``
(https://github.com/bananaml/potassium).
"""

from __future__ import annotations

from typing import Literal

import msgspec

Change = Literal["ready", "begun", "ended"]


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """Instants are seconds on one monotonic scale."""

    slots: int = 0
    """0 until the worker is ready."""
    sequence_number: int = 0
    """Calls begun so far."""
    running: tuple[float, ...] = ()
    """When each running call began, oldest first."""
    idle_since: float = 0.0

    def update(self, change: Change, now: float, *, at: float = 0.0, slots: int = 0) -> Status:
        """The status after a change at ``now``.

        ``ready`` takes ``slots``; ``ended`` takes ``at``, the instant at which that call began.
        """
        if change == "ready":
            return msgspec.structs.replace(self, slots=slots, idle_since=now)
        if change == "begun":
            return msgspec.structs.replace(
                self, sequence_number=self.sequence_number + 1, running=(*self.running, now)
            )
        position = self.running.index(at)
        running = self.running[:position] + self.running[position + 1 :]
        return msgspec.structs.replace(self, running=running, idle_since=now)

    @property
    def gpu_available(self) -> bool:
        """A call sent now would begin at once."""
        return len(self.running) < self.slots

    def idle_time(self, now: float) -> float:
        """Seconds since the last call ended; 0 while one runs."""
        return 0.0 if self.running or not self.slots else now - self.idle_since

    def inference_time(self, now: float) -> float:
        """Seconds that the oldest running call has taken; 0 while none runs."""
        return now - self.running[0] if self.running else 0.0
