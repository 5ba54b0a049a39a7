"""What of a policy cannot be served by several processes: told before any is started."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping

from adapters.base import Clock
from adapters.settings import SettingError
from gateway.policy.model import Policy
from gateway.policy.syntax.problems import Mark, PolicyError, join, place_of, problem_at
from gateway.processes.hosts import host_of


def check_shareable(policy: Policy, places: Mapping[str, Mark], clock: Clock) -> None:
    """Raises PolicyError with all that takes a single process."""
    found = [*_unshared(policy, clock)]
    if found:
        raise PolicyError(
            problem_at(place_of(path, places), path, f"{message}; start without --workers")
            for path, message in found
        )


def _unshared(policy: Policy, clock: Clock) -> Iterator[tuple[str, str]]:
    for name, spec in policy.backends.items():
        try:
            host_of(spec, clock)
        except SettingError as error:
            yield functools.reduce(join, error.keys, join("backends", name)), str(error)
