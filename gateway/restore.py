"""At start the counters are filled from the ledger, and what a dead process left is settled; a
shared store that loses its memory later is filled again."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from collections.abc import Callable, Sequence

from gateway.money.counted import Limited, lacks, limited
from gateway.money.settling.windows import Windows
from gateway.money.text import usd
from gateway.policy.model import Policy
from gateway.service import Gateway
from gateway.storage.base import Claim, LedgerRow, StorageUnavailable
from gateway.types import MICRO, NANO, ApiError
from gateway.windows import LONGEST_US

log = logging.getLogger("spillgate")

_DAY_S = 86_400.0
_LOOKS_AGAIN_S = (3.0, 7.0, 20.0)
"""Seconds between fills of a store that had lost its memory."""


async def restore(gateway: Gateway) -> None:
    """Before the first call. Counters first, so that interrupted calls are added to them once.
    Raises StorageUnavailable where the ledger cannot be read: what was spent is not known then."""
    now = gateway.clock.time()
    windows = Windows(await _limited(gateway, gateway.active.policy), now)
    spent = await gateway.ledger.sums(windows.queries, contextlib.nullcontext)
    try:
        await gateway.shared.restore(windows.counted(spent, (), now))
    except StorageUnavailable as unavailable:
        # What waited to be settled there when the process before died is in the ledger alone.
        log.error("the shared store: %s; calls with limits wait for it", unavailable)
        gateway.run_forever(gateway.fill_later(functools.partial(fill, gateway)))
    gateway.settler.abandoned.told = functools.partial(_count_recovered, gateway)
    interrupted = await gateway.settler.recover()
    if interrupted:
        log.warning("%d calls that were open when the gateway died are settled", interrupted)
    since = gateway.clock.time() - _DAY_S
    gateway.dispatcher.volume.restore(await gateway.ledger.calls_since(since))


async def _count_recovered(gateway: Gateway, rows: Sequence[LedgerRow]) -> None:
    """A limit that has come since a dead gateway's calls claimed theirs counts them by the
    ledger."""
    again = functools.partial(fill, gateway)
    try:
        limits = await _limited(gateway, gateway.active.policy)
        if any(lacks(row, limits) for row in rows):
            await again(gateway.active.policy)
    except StorageUnavailable as unavailable:
        log.error("limits could not be filled from the ledger: %s", unavailable)
        gateway.run_forever(gateway.fill_later(again))


async def fill(gateway: Gateway, policy: Policy) -> None:
    """Counters know what the ledger knows, and what calls on their way hold, by the limits in
    force, and those of ``policy``: one that a reload has added counts what its window has seen.
    Raises StorageUnavailable, also while calls that have ended wait for the ledger: nobody knows
    what they would have claimed by limits that came later."""
    await gateway.settler.retry()
    _check_rows(gateway)
    await _fill(gateway, policy, _check_rows)


async def refill(gateway: Gateway) -> None:
    """The same for a store that has lost its memory, by the limits in force: it holds what waits to
    be written. Raises StorageUnavailable."""
    await _fill(gateway, gateway.active.policy, lambda _: None)


async def look_again(gateway: Gateway) -> None:
    """After a store that others use was filled. What they had on its way to the ledger just then,
    and was in the counters already, hides as much that these lacked."""
    for pause_s in _LOOKS_AGAIN_S if gateway.shared.fills else ():
        await gateway.clock.sleep(pause_s)
        with contextlib.suppress(StorageUnavailable):
            await fill(gateway, gateway.active.policy)


def _check_rows(gateway: Gateway) -> None:
    if gateway.settler.lacks_rows:
        raise StorageUnavailable("calls that have ended wait to be written into the ledger")


async def _fill(gateway: Gateway, policy: Policy, check: Callable[[Gateway], None]) -> None:
    # Calls may end while others hold again: what they were charged is in the sums as well as in
    # the counters, of which the larger figure counts.
    for reinstate in gateway.holders:
        await reinstate()
    windows = Windows(await _limited(gateway, policy), gateway.clock.time())
    async with (
        gateway.settler.sums(windows.queries) as (spent, noted),
        gateway.settler.stands_still(),
    ):
        check(gateway)
        # What waits is held: what a store counts after it was filled is added to the sums.
        await gateway.settler.reinstate(noted)
        await gateway.shared.restore(windows.counted(spent, noted.rows, gateway.clock.time()))


async def spenders(gateway: Gateway) -> dict[str, Sequence[Claim]]:
    """Keys that have spent something in a window which goes on, and their limits. Raises
    StorageUnavailable."""
    now_us = round(gateway.clock.time() * MICRO)
    since = (now_us - LONGEST_US) / MICRO
    ids = {row.key_id for row in await gateway.ledger.spent_since(since)}
    found: dict[str, Sequence[Claim]] = {}
    for record in await asyncio.to_thread(gateway.keys.list) if ids else ():
        if record.principal.key_id in ids:
            with contextlib.suppress(ApiError):  # its plan has gone, and its limits with it
                found[record.principal.key_id] = gateway.active.template(record.principal).limits
    return found


class Refill:
    """Called when the shared store has lost its memory: fills it from the ledger, in a task of
    the gateway, one at a time. What fails is tried again at the next call."""

    def __init__(self) -> None:
        self._gateway: Gateway | None = None
        self._under_way = False

    def serves(self, gateway: Gateway) -> None:
        """From now on it is this gateway's store that is filled."""
        self._gateway = gateway

    def __call__(self) -> None:
        if self._gateway is not None and not self._under_way:
            self._under_way = True
            self._gateway.run_forever(self._run(self._gateway))

    def past(self, nano: int) -> None:
        """Told of what was spent past a limit while the shared store was lost."""
        if self._gateway is not None:
            self._gateway.metrics.past_caps.inc(nano / NANO)
        log.warning("%s USD were spent past a cap while the shared store was lost", usd(nano))

    async def _run(self, gateway: Gateway) -> None:
        try:
            await refill(gateway)
            log.warning("the shared store had lost its memory; it was filled from the ledger")
            gateway.run_forever(look_again(gateway))
        except StorageUnavailable as unavailable:
            log.error("the shared store could not be filled from the ledger: %s", unavailable)
        finally:
            self._under_way = False


async def _limited(gateway: Gateway, policy: Policy) -> Limited:
    keys = [*await asyncio.to_thread(gateway.keys.list)]
    keys += await asyncio.to_thread(gateway.keys.tokens)
    callers = [record.principal for record in keys]
    if gateway.batches is not None:
        callers += await gateway.batches.limited()
    return limited(policy, callers)
