"""Requests without a good key are bounded for each address, counted, and logged, not too often."""

from __future__ import annotations

import pytest

from gateway.clock import FakeClock
from gateway.failed_keys import LOGGED_A_MINUTE, MOST_ADDRESSES, FailedKeys, network_of
from gateway.metrics import Metrics


def failed_keys(clock: FakeClock, a_minute: int = 3) -> FailedKeys:
    return FailedKeys(a_minute, clock=clock, metrics=Metrics())


def test_an_address_may_send_a_minutes_worth_at_once_and_then_evenly(clock: FakeClock) -> None:
    refuse = failed_keys(clock).refuse
    assert [refuse("192.0.2.1", "unknown") for _ in range(3)] == [None] * 3
    assert refuse("192.0.2.1", "unknown") == 20
    assert refuse("192.0.2.2", "unknown") is None
    clock.move(20)
    assert refuse("192.0.2.1", "unknown") is None
    assert refuse("192.0.2.1", "unknown") == 20


def test_being_refused_does_not_make_the_wait_longer(clock: FakeClock) -> None:
    refuse = failed_keys(clock).refuse
    for _ in range(100):
        refuse("192.0.2.1", "unknown")
    clock.move(20)
    assert refuse("192.0.2.1", "unknown") is None


def test_so_many_addresses_are_remembered_and_no_more(clock: FakeClock) -> None:
    """The one that failed longest ago is forgotten."""
    keys = failed_keys(clock, 1)
    keys.refuse("first", "missing")
    keys.refuse("second", "missing")
    keys.refuse("first", "missing")
    for number in range(MOST_ADDRESSES - 1):
        keys.refuse(f"n{number}", "missing")
    assert len(keys) == MOST_ADDRESSES
    assert keys.refuse("first", "missing") == 60
    assert keys.refuse("second", "missing") is None


@pytest.mark.parametrize(
    ("client", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("no:address", "no:address"),
        ("", ""),
    ],
)
def test_of_ipv6_a_client_has_all_of_a_network(client: str, network: str) -> None:
    assert network_of(client) == network


def test_they_are_counted_by_why(clock: FakeClock) -> None:
    metrics = Metrics()
    keys = FailedKeys(2, clock=clock, metrics=metrics)
    for why in ("missing", "expired", "expired"):
        keys.refuse("192.0.2.1", why)
    page = metrics.render().decode()
    for reason in ("missing", "expired", "limited"):
        assert f'spillgate_failed_keys_total{{reason="{reason}"}} 1.0' in page


def test_lines_of_the_log_are_bounded_for_all_addresses_together(clock: FakeClock) -> None:
    keys = failed_keys(clock)
    assert sum(keys.logs() for _ in range(2 * LOGGED_A_MINUTE)) == LOGGED_A_MINUTE
    clock.move(0.1)
    assert keys.logs()
