"""One ping of a backend: what it will cost, how it is paid, and what came of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Literal

import msgspec

from adapters.base import Warmable
from adapters.errors import BackendError
from adapters.types import Usage
from gateway.active_policy import ActivePolicy
from gateway.backends.live import LiveBackend
from gateway.metrics import Metrics
from gateway.money.pricing import charge, credible
from gateway.tasks import BackgroundTasks
from gateway.warm.account import WarmAccount, ping_estimate, ping_hold

log = logging.getLogger("spillgate")

_TIMEOUT_S = 300.0


class PingQuote(msgspec.Struct, frozen=True):
    """What asking a backend will cost, in nano-dollars: probably, and at most; and by which means
    it is asked. A ``probe`` is free, and wakes nothing."""

    means: Literal["ping", "probe"]
    expected_nano: int
    most_nano: int
    is_charged: bool
    """Whether the platform bills it; what a reserved worker is pinged for is paid already."""


class PingEnd(msgspec.Struct, frozen=True):
    """What came of it. ``refused``: the limits had no room, and nothing was asked."""

    outcome: Literal["success", "error", "refused"]
    row: str = ""
    """Its id in the ledger."""
    nano: int = 0
    used: Usage = Usage()
    error: str = ""
    message: str = ""


def quoted(backend: LiveBackend) -> PingQuote:
    """By the backend's cheapest real call where it has one, else by a question."""
    if backend.warmable is None:
        return PingQuote("probe", 0, 0, is_charged=False)
    estimate = ping_estimate(backend)
    is_charged = backend.price is not None and not backend.price.reserved
    return PingQuote("ping", estimate.charge, estimate.hold, is_charged)


class Pings:
    """Sends them, each as a row of its own of ``system:warm-pool``."""

    def __init__(
        self, *, active: Callable[[], ActivePolicy], account: WarmAccount, metrics: Metrics
    ) -> None:
        self._active = active
        self._account = account
        self._metrics = metrics
        self._background = BackgroundTasks()

    async def send_whole(self, backend: LiveBackend, warmable: Warmable, reason: str) -> PingEnd:
        """As ``send``, and to its end where whoever asked has gone: what was begun is paid."""
        return await self._background.shielded(self.send(backend, warmable, reason))

    async def aclose(self) -> None:
        """Breaks off what is under way, and waits for its end."""
        await self._background.cancel()

    async def send(self, backend: LiveBackend, warmable: Warmable, reason: str) -> PingEnd:
        """Admitted and held before the platform is asked. Raises StorageUnavailable where no row
        can be written."""
        nano, lasts_s = ping_hold(backend)
        expense = await self._account.open(
            self._active().policy, backend, "ping", reason, nano=nano, lasts_s=lasts_s
        )
        if expense is None:
            self._metrics.pings.labels(backend.name, "refused").inc()
            return PingEnd("refused")
        usage, failure, message = await _asked(backend, warmable)
        used = usage or credible((failure and failure.usage) or Usage())
        outcome: Literal["success", "error"] = "error" if usage is None else "success"
        end = PingEnd(
            outcome=outcome,
            row=expense.row.id,
            nano=charge(backend.price, used) if used.exec_s is not None else 0,
            used=used,
            error="" if failure is None else failure.failure.slug,
            message=message,
        )
        await self._account.settle(expense, used, outcome=outcome, error=end.error, nano=end.nano)
        self._metrics.pings.labels(backend.name, end.outcome).inc()
        return end


async def _asked(
    backend: LiveBackend, warmable: Warmable
) -> tuple[Usage | None, BackendError | None, str]:
    lease = await backend.lease(ping=True)
    usage: Usage | None = None
    failure: BackendError | None = None
    message = ""
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            usage = credible(await warmable.ping())
    except BackendError as error:
        failure, message = error, error.message
        log.warning("pinging %s failed: %s %s", backend.name, error, error.detail)
    except TimeoutError:
        message = f"it did not end within {_TIMEOUT_S:g} s"
        log.warning("pinging %s did not end within %d s", backend.name, _TIMEOUT_S)
    finally:
        # A ping's run time says nothing of a call's: only its cold start is learned from.
        learned = None if usage is None else msgspec.structs.replace(usage, exec_s=None)
        backend.end(lease, "", learned, failure)
    return usage, failure, message
