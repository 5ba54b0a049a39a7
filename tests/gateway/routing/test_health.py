"""Blame grows with failures in a row and fades with time."""

from __future__ import annotations

import pytest

from adapters.errors import FailureClass
from gateway.routing.health import HEALTHY, BackendHealth, after_failure, after_success


def test_two_failures_in_a_row_are_forgiven_and_the_third_is_not() -> None:
    """A single refused connection takes no backend out of service."""
    health = HEALTHY
    for _ in range(2):
        health = after_failure(health, FailureClass.UNREACHABLE, now=100.0)
        assert health.open_until <= 100.0
    health = after_failure(health, FailureClass.UNREACHABLE, now=100.0)
    assert health.open_until == 101.0


def test_cooling_doubles_up_to_a_minute() -> None:
    """A backend that stays away is asked ever more seldom, but at least once a minute."""
    health = BackendHealth()
    pauses = []
    for _ in range(12):
        now = health.open_until
        health = after_failure(health, FailureClass.UNREACHABLE, now)
        pauses.append(health.open_until - now)
    assert pauses[2:8] == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0]
    assert pauses[-1] == 60.0


def test_calls_that_fail_together_are_blamed_as_one() -> None:
    """A server that restarts under a hundred calls is away for a moment, not for a minute."""
    health = HEALTHY
    for number in range(100):
        health = after_failure(health, FailureClass.AMBIGUOUS, now=50.0 + number / 1000)
    assert health == BackendHealth(3, 51.002)
    assert after_failure(health, FailureClass.AMBIGUOUS, now=51.01).open_until == 53.01
    assert after_failure(health, FailureClass.GONE, now=50.5).open_until == 110.5


def test_one_success_forgives_everything() -> None:
    """The next failure starts from nothing."""
    assert after_success(BackendHealth(9, 500.0)) is HEALTHY


@pytest.mark.parametrize(
    "failure",
    [
        FailureClass.LOADING,
        FailureClass.TOO_LARGE,
        FailureClass.UNSUPPORTED,
        FailureClass.INVALID,
        FailureClass.FAILED,
        FailureClass.TIMEOUT,
        FailureClass.CANCELLED,
    ],
)
def test_the_callers_faults_are_not_the_backends(failure: FailureClass) -> None:
    """A bad request never takes a backend out of service."""
    assert after_failure(HEALTHY, failure, now=5.0) is HEALTHY


@pytest.mark.parametrize("failure", [FailureClass.CREDENTIAL, FailureClass.GONE])
def test_what_only_an_operator_mends_cools_at_once(failure: FailureClass) -> None:
    """A wrong key is not tried on every call."""
    assert after_failure(HEALTHY, failure, now=5.0).open_until == 65.0


def test_an_overloaded_backend_is_left_alone_for_as_long_as_it_asks() -> None:
    """Its Retry-After counts, up to a minute; it is no failure in a row."""
    asked = after_failure(HEALTHY, FailureClass.OVERLOADED, now=10.0, retry_after=7.0)
    assert asked == BackendHealth(0, 17.0)
    assert after_failure(HEALTHY, FailureClass.OVERLOADED, 10.0, 9999.0).open_until == 70.0
