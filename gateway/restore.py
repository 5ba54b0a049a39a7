"""At start: the counters are filled from the ledger, and what a dead process left is settled."""

from __future__ import annotations

import logging

from gateway.service import Service

log = logging.getLogger("spillgate")

_DAY_S = 86_400.0


async def restore(service: Service) -> None:
    """Before the first call. Counters first, so that interrupted calls are added to them once."""
    now_at = service.clock.time()
    await service.shared.restore(await service.ledger.spent(now_at))
    interrupted = await service.house.recover()
    if interrupted:
        log.warning("%d calls that were open when the gateway died are settled", interrupted)
    service.dispatcher.volume.restore(await service.ledger.calls_since(now_at - _DAY_S))
