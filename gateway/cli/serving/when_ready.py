"""Says in the log when what is loading has loaded."""

from __future__ import annotations

import logging

from gateway.service import Gateway

log = logging.getLogger("spillgate")

_EVERY_S = 0.25


async def say_when_ready(gateway: Gateway) -> None:
    """Of the backends of whose workers none is warm yet; ends when all of them were, or are in no
    policy any more."""
    since = gateway.clock.monotonic()
    loading = {name for name, one in gateway.active.backends.items() if one.slots == 0}
    while loading:
        await gateway.clock.sleep(_EVERY_S)
        backends, models = gateway.active.backends, gateway.active.policy.models
        for name in sorted(loading):
            if name in backends and not backends[name].slots:
                continue
            loading.discard(name)
            if name in backends:
                served = [model for model, spec in models.items() if name in spec.backends]
                took = gateway.clock.monotonic() - since
                log.info("%s is ready after %.1f s: %s", name, took, ", ".join(served) or "-")
