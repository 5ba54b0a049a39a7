"""What of a policy cannot be served by several processes: told before any is started."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping

from adapters import load_kind
from adapters.base import Clock, SharesWorkers
from adapters.settings import SettingError
from gateway.policy.model import BackendSpec, Policy
from gateway.policy.problems import Mark, PolicyError, join, place_of, problem_at
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
    for name in policy.warm_pool:
        yield join("warm_pool", name), "each process would keep workers and pings of its own"
    for name, spec in policy.backends.items():
        path = join("backends", name)
        try:
            host_of(spec, clock)
        except SettingError as error:
            yield functools.reduce(join, error.keys, path), str(error)
        if (why := _why_not(policy, spec)) is not None:
            key, message = why
            yield join(path, key), message


def _why_not(policy: Policy, spec: BackendSpec) -> tuple[str, str] | None:
    common = spec.common
    dated = policy.prices[common.price] if common.price else None
    if dated is None:
        return None
    shares = isinstance(load_kind(spec.kind), SharesWorkers)
    if not shares and any(price.reserved for price in dated.entries):
        return "price", "each process would charge its calls for the whole machine"
    if common.cold_start is not None and any("idle" in price.bills for price in dated.entries):
        return "price", "each process would book the idle seconds of its own calls"
    return None
