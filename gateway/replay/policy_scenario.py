"""A policy's model as a replay knows it: what is reserved for it, and where it spills."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping

import msgspec

from gateway.policy.model import BackendSpec, ColdStart, Policy
from gateway.policy.sections.price import DatedPrices, Price
from gateway.policy.sections.price_tables import TABLES, table
from gateway.replay.platforms import RESERVED_PER_HOUR, Platform
from gateway.types import NANO

_SAMPLES = 200
_P95 = 1.645
"""Standard deviations."""
_IDLE_S = 60.0
"""Where the policy says of no backend how long its workers stay."""


class PolicyScenario(msgspec.Struct, frozen=True, kw_only=True):
    """Of one model."""

    model: str
    platform: Platform
    """Where it spills, at the policy's price and starts."""
    slo_s: float
    overflow: str
    """The backend that is meant."""
    home: str | None
    """The reserved one; None where the model has none."""
    gpus: int
    """Calls that the reserved one runs at once."""


def scenario(policy: Policy, model: str | None, now: float) -> PolicyScenario:
    """``model`` left out: the first that spills. Raises ValueError that says what is missing."""
    names = [model] if model is not None else list(policy.models)
    if model is not None and model not in policy.models:
        raise ValueError(f"no model {model}: there are {', '.join(policy.models)}")
    for name in names:
        found = _scenario(policy, name, now)
        if found is not None:
            return found
    raise ValueError(
        f"{', '.join(names)}: no backend with a price by the second and a cold_start to spill to"
    )


def _scenario(policy: Policy, name: str, now: float) -> PolicyScenario | None:
    spec = policy.models[name]
    backends = [policy.backends[each] for each in spec.backends]
    priced = [(each, _price(policy.prices, each, now)) for each in backends]
    homes = [(each, price) for each, price in priced if price is None or price.reserved]
    away = [
        (price.per_second, each, price)
        for each, price in priced
        if price is not None and price.per_second and each.common.cold_start is not None
    ]
    if not away:
        return None
    _, overflow, price = min(away, key=lambda one: one[0])
    home = homes[0] if homes else None
    hourly = None if home is None or home[1] is None else home[1].per_hour
    assert overflow.common.cold_start is not None
    return PolicyScenario(
        model=name,
        platform=Platform(
            name=overflow.name,
            per_s=(price.per_second or 0) / NANO,
            per_call=(price.per_call or 0) / NANO,
            starts=start_samples(overflow.common.cold_start),
            default_idle_s=overflow.common.idle_timeout or _IDLE_S,
            reserved_per_hour=hourly / NANO if hourly else RESERVED_PER_HOUR,
        ),
        slo_s=spec.slo,
        overflow=overflow.name,
        home=None if home is None else home[0].name,
        gpus=0 if home is None else _slots(home[0]),
    )


def _price(prices: Mapping[str, DatedPrices], spec: BackendSpec, now: float) -> Price | None:
    name = spec.common.price
    if name is None:
        return None
    where, _, rest = name.partition("/")
    dated = prices.get(name) or (table(where).get(rest) if where in TABLES else None)
    return None if dated is None else dated.at(now)


def _slots(spec: BackendSpec) -> int:
    return slots_of(spec) or spec.common.concurrency or 1


def slots_of(spec: BackendSpec) -> int | None:
    """Calls that run at once by what its kind is told: one each worker that the gateway starts at
    most, or as many as an endpoint takes; None where nothing says so."""
    slots = getattr(spec.settings, "slots", None)
    return machine_slots(spec) or (slots if isinstance(slots, int) else None)


def machine_slots(spec: BackendSpec) -> int | None:
    """Workers that the gateway starts for a backend at most, each of which runs a call; None where
    it starts none."""
    workers = getattr(spec.settings, "workers", None)
    between = getattr(workers, "replicas", workers)  # Ray's are a part of its settings
    bounds = getattr(between, "bounds", None)
    most = getattr(bounds, "most", workers)
    return max(1, most) if isinstance(most, int) and not isinstance(most, bool) else None


def units_of(spec: BackendSpec) -> int:
    """Machines that are paid for: one each worker that the gateway starts, else one."""
    return machine_slots(spec) or 1


def start_samples(cold: ColdStart) -> tuple[float, ...]:
    """Samples of a log-normal with that median and that 95th percentile."""
    if cold.p95 <= cold.p50 or not cold.p50:
        return (cold.p50,)
    sigma = math.log(cold.p95 / cold.p50) / _P95
    normal = statistics.NormalDist()
    shares = ((number + 0.5) / _SAMPLES for number in range(_SAMPLES))
    return tuple(cold.p50 * math.exp(sigma * normal.inv_cdf(share)) for share in shares)
