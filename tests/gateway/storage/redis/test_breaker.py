"""When a store that does not answer is asked again."""

from __future__ import annotations

from gateway.storage.redis.breaker import Breaker


def test_a_failure_opens_it_for_a_pause_and_then_one_probe_passes() -> None:
    breaker = Breaker(pause_s=0.5)
    assert breaker.allows(0.0)
    breaker.failed(0.0)
    assert not breaker.closed
    assert [breaker.allows(now) for now in (0.0, 0.49, 0.5, 0.5, 0.6)] == [
        False,
        False,
        True,
        False,
        False,
    ]


def test_a_probe_that_succeeds_closes_it_and_the_next_pause_is_short_again() -> None:
    breaker = Breaker(pause_s=0.5)
    for now in (0.0, 0.5, 1.5):
        breaker.failed(now)
        assert breaker.allows(now + 2.0)
    breaker.succeeded()
    assert breaker.closed
    assert breaker.allows(4.0)
    breaker.failed(4.0)
    assert breaker.allows(4.5)


def test_each_failed_probe_doubles_the_pause_up_to_the_longest() -> None:
    breaker = Breaker(pause_s=0.5, longest_s=2.0)
    now, pauses = 0.0, []
    for _ in range(5):
        breaker.failed(now)
        began = now
        while not breaker.allows(now):
            now += 0.25
        pauses.append(now - began)
    assert pauses == [0.5, 1.0, 2.0, 2.0, 2.0]


def test_calls_that_fail_together_count_once() -> None:
    breaker = Breaker(pause_s=0.5)
    for _ in range(10):
        breaker.failed(0.0)
    assert breaker.allows(0.5)


def test_a_probe_that_is_never_heard_of_again_does_not_close_the_door_for_ever() -> None:
    breaker = Breaker(pause_s=0.5)
    breaker.failed(0.0)
    assert breaker.allows(0.5)
    assert not breaker.allows(1.0)
    assert breaker.allows(1.5)
