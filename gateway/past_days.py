"""What goes over hours and days that have ended: what nobody used, bills, and rows that are old."""

from __future__ import annotations

from gateway.bills.watch import BillWatch
from gateway.money.idle_books import IdleBooks
from gateway.service import Gateway


def look_back(gateway: Gateway) -> None:
    """Begins all of it, beside the calls, until the gateway ends."""
    gateway.run_forever(_idle_books(gateway).run())
    gateway.run_forever(_bill_watch(gateway).run())
    if gateway.archivist is not None:
        gateway.run_forever(gateway.archivist.run())


def _idle_books(gateway: Gateway) -> IdleBooks:
    return IdleBooks(
        policy=lambda: gateway.active.policy, ledger=gateway.ledger, clock=gateway.clock
    )


def _bill_watch(gateway: Gateway) -> BillWatch:
    watch = BillWatch(
        policy=lambda: gateway.active.policy,
        backends=lambda: {name: one.adapter for name, one in gateway.active.backends.items()},
        ledger=gateway.ledger,
        clock=gateway.clock,
    )
    gateway.metrics.observe(watch.readings)
    return watch
