"""At start: the counters are filled from the ledger, and what a dead process left is settled."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator

from gateway.service import Service
from gateway.storage.base import Spent
from gateway.storage.windows import bounds
from gateway.types import MICRO, Unit

log = logging.getLogger("spillgate")

_DAY_S = 86_400.0
_WINDOWS = ("second", "minute", "hour", "day", "week", "month")


async def restore(service: Service) -> None:
    """Before the first call. Counters first, so that interrupted calls are added to them once."""
    now_at = service.clock.time()
    for window in _WINDOWS:
        start_us, _ = bounds(window, round(now_at * MICRO))
        spent = await service.ledger.spent_since(start_us / MICRO)
        await service.shared.restore(_counters(spent, window))
    interrupted = await service.house.recover()
    if interrupted:
        log.warning("%d calls that were open when the gateway died are settled", interrupted)
    service.dispatcher.volume.restore(await service.ledger.calls_since(now_at - _DAY_S))


def _counters(spent: Iterable[Spent], window: str) -> Iterator[tuple[str, Unit, str, int]]:
    """The sums of every scope: (scope, unit, window, spent)."""
    sums: dict[tuple[str, Unit], int] = {}
    for row in spent:
        for scope in _scopes(row):
            for unit, amount in (("gpu_us", row.gpu_us), ("nano_usd", row.nano_usd)):
                key: tuple[str, Unit] = (scope, "gpu_us" if unit == "gpu_us" else "nano_usd")
                sums[key] = sums.get(key, 0) + amount
    for (scope, unit_name), amount in sums.items():
        yield scope, unit_name, window, amount


def _scopes(row: Spent) -> tuple[str, ...]:
    own = (f"key:{row.key_id}", f"user:{row.user}", "gateway")
    return (*own, f"plan:{row.plan}") if row.plan else own
