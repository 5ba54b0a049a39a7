"""How a call ended, and what its row says where it was broken off."""

from __future__ import annotations

from typing import Literal

import msgspec

from adapters.errors import BackendError
from gateway.metrics import Metrics
from gateway.storage.base import LedgerRow, Outcome
from gateway.types import MICRO

GRACE_S = 60.0
"""After a call's last moment its hold expires by itself."""
LONGEST_S = 30 * 86_400.0
"""Of a hold, for a call without an end."""
StopCause = Literal[
    "",
    "disconnected",
    "budget",
    "store",
    "timeout",
    "waited",
    "key",
    "fault",
    "canceled",
    "handed_over",
]

BROKEN_OFF: dict[StopCause, tuple[Outcome, int, str]] = {
    "": ("cancelled", 503, "cancelled"),
    "disconnected": ("disconnected", 499, "disconnected"),
    "budget": ("error", 402, "budget_exhausted"),
    "store": ("error", 503, "store_unavailable"),
    "timeout": ("error", 504, "timeout"),
    "waited": ("error", 503, "no_backend"),
    "key": ("error", 401, "invalid_api_key"),
    "fault": ("error", 500, "internal_error"),
    "canceled": ("cancelled", 499, "canceled"),
    "handed_over": ("interrupted", 503, "interrupted"),
}
"""Why a call was broken off -> what its row says: outcome, status, error."""


class GivenUp(msgspec.Struct, frozen=True):
    """An attempt that is broken off, while its call goes on."""

    why: BackendError
    cancellations: int
    """Of the call's task, before."""


class Ending(msgspec.Struct, frozen=True):
    """How a call ended, and what it is charged."""

    row: LedgerRow
    attempts: tuple[LedgerRow, ...]
    """Of backends that failed before, and are charged."""
    starts: tuple[LedgerRow, ...]
    """Of cold starts that are nobody's to pay."""
    cost_nano: int
    """Nano-dollars of all attempts together."""

    def count_attempts(self, metrics: Metrics) -> None:
        """What backends that failed the call, or were slower, cost all the same."""
        for row in self.attempts:
            pair = metrics.pairs[row.model, row.backend]
            pair.cost.value += row.cost_nano / 1e9
            pair.gpu.value += row.gpu_us / MICRO

    def rows(self) -> tuple[LedgerRow, ...]:
        """The call's own first."""
        if not self.attempts and not self.starts:
            return (self.row,)
        return (self.row, *self.attempts, *self.starts)
