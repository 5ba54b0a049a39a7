"""What is counted of outages, for ``/metrics``."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.metrics import Reading
from gateway.storage.base import Admitted, Refused


class OutageTally:
    """Since the gateway began."""

    def __init__(self) -> None:
        self.outages = 0
        self.lasted_s = 0.0
        """Of those that are over, together."""
        self.admitted = 0
        """Calls that were let through without the store."""
        self.refused = 0
        """Those that a scope, or its share, had no room for."""

    def answered(self, answer: Admitted | Refused | None) -> None:
        """None: the call was refused because nobody could say."""
        if isinstance(answer, Admitted):
            self.admitted += 1
        else:
            self.refused += 1

    def readings(self, lost_s: float) -> Iterator[Reading]:
        """``lost_s``: how long the outage has lasted that is not over."""
        outages, calls = "Times that the shared store was lost", "Calls while it was lost"
        yield "spillgate_shared_store_outages", outages, {}, float(self.outages)
        lasted = "Together"
        yield "spillgate_shared_store_outage_seconds", lasted, {}, self.lasted_s + lost_s
        for answer, count in (("admitted", self.admitted), ("refused", self.refused)):
            yield "spillgate_shared_store_outage_calls", calls, {"answer": answer}, float(count)
