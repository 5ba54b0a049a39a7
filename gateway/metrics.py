"""What the gateway counts, under names that stay. Labels name models and backends, never users:
their number is bounded by the policy, and a scrape tells nothing of any tenant."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from local_runtime.counters import Count, Counters, Gauges, Histograms
from local_runtime.counters import Registry as Registry
from local_runtime.counters import SeldomCounter as SeldomCounter

_SECONDS = (
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
    60.0,
    300.0,
)
_OVERHEAD = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.25, 1.0)

_PAIR = ("model", "backend")

Reading = tuple[str, str, dict[str, str], float]
"""(name, help, labels, value) of a gauge, read at the scrape."""


class CallMetrics:
    """The children of one (model, backend) pair, looked up once so that a call pays no look-up."""

    def __init__(self, owner: Metrics, model: str, backend: str) -> None:
        self.ended = _Outcomes(owner, model, backend)
        self.seconds = owner.seconds.of((model, backend))
        self.cost = owner.cost.of((model, backend))
        self.held = owner.holds.held.of((model, backend))
        self.set_aside = owner.holds.set_aside.of((model, backend))
        self.settled = owner.holds.settled.of((model, backend))
        self.gpu = owner.gpu.of((model, backend))
        self.cold = owner.cold.of((model, backend))


class _Outcomes(dict[str, Count]):
    """Outcome -> how many calls ended so; each made when it is first asked for. A call that finds
    its own enters no function."""

    def __init__(self, owner: Metrics, model: str, backend: str) -> None:
        super().__init__()
        self._owner, self._pair = owner, (model, backend)

    def __missing__(self, outcome: str) -> Count:
        found = self[outcome] = self._owner.calls.of((*self._pair, outcome))
        return found


class _Pairs(dict[tuple[str, str], CallMetrics]):
    """(model, backend) -> what is counted of these calls; made as the outcomes are."""

    def __init__(self, owner: Metrics) -> None:
        super().__init__()
        self._owner = owner

    def __missing__(self, pair: tuple[str, str]) -> CallMetrics:
        found = self[pair] = CallMetrics(self._owner, *pair)
        return found


class HoldMetrics:
    """What was held of calls that have ended, what of that was told as taken, and what they were
    charged: of those whose money was limited alone, so that the one by the other is how much too
    much is held, or told."""

    def __init__(self, registry: Registry) -> None:
        self.held = Counters(
            "spillgate_held_usd", "Dollars held for calls that have ended", _PAIR, registry
        )
        self.set_aside = Counters(
            "spillgate_set_aside_usd",
            "Of these dollars, those that were not expected to come back",
            _PAIR,
            registry,
        )
        self.settled = Counters(
            "spillgate_settled_usd", "Dollars that the same calls were charged", _PAIR, registry
        )
        self.waited = SeldomCounter(
            "spillgate_room_waits",
            "Calls that waited until others gave back what they had held too much",
            ("result",),
            registry=registry,
        )


class NoticeMetrics:
    """What is counted of those who are told of something."""

    def __init__(self, registry: Registry) -> None:
        self.webhooks = SeldomCounter(
            "spillgate_webhooks",
            "Attempts to send a message to an endpoint of the policy",
            ("endpoint", "outcome"),
            registry=registry,
        )
        self.dropped = SeldomCounter(
            "spillgate_webhooks_dropped",
            "Messages that no attempt brought to their endpoint in time: 0, or something is lost",
            ("endpoint",),
            registry=registry,
        )
        self.alerts = SeldomCounter(
            "spillgate_budget_alerts",
            "Limits that were reached, each once in its window",
            ("scope", "step"),
            registry=registry,
        )


class Metrics:
    """One registry a gateway; ``render`` gives Prometheus' text format."""

    def __init__(self) -> None:
        registry = self.registry = Registry()
        self.calls = Counters("spillgate_calls", "Calls that ended", (*_PAIR, "outcome"), registry)
        self.seconds = Histograms(
            "spillgate_call_seconds",
            "Seconds from a call's arrival to its end",
            _PAIR,
            _SECONDS,
            registry,
        )
        self.overhead = Histograms(
            "spillgate_overhead_seconds",
            "Seconds that the gateway itself added: all but waiting for the backend",
            (),
            _OVERHEAD,
            registry,
        ).of(())
        self.cost = Counters("spillgate_cost_usd", "Dollars charged to calls", _PAIR, registry)
        self.holds = HoldMetrics(registry)
        self.gpu = Counters(
            "spillgate_gpu_seconds", "Seconds of device charged to calls", _PAIR, registry
        )
        text = "Calls that waited for a worker"
        self.cold = Counters("spillgate_cold_starts", text, _PAIR, registry)
        self.refused = SeldomCounter(
            "spillgate_refused",
            "Calls refused before a backend was asked",
            ("code",),
            registry=registry,
        )
        self.failed_keys = SeldomCounter(
            "spillgate_failed_keys",
            "Requests without a good key",
            ("reason",),
            registry=registry,
        )
        self.failures = SeldomCounter(
            "spillgate_backend_failures",
            "Attempts that a backend failed",
            ("backend", "failure"),
            registry=registry,
        )
        self.pings = SeldomCounter(
            "spillgate_pings", "Keep-warm pings", ("backend", "outcome"), registry=registry
        )
        self.reloads = SeldomCounter(
            "spillgate_policy_reloads", "Policy changes", ("result",), registry=registry
        )
        self.unsettled = SeldomCounter(
            "spillgate_settlements_retried",
            "Settlements that a store did not take at once",
            registry=registry,
        )
        self.past_caps = SeldomCounter(
            "spillgate_spent_past_caps_usd",
            "US dollars that calls were charged past a limit: 0, or a hold was too small",
            registry=registry,
        )
        self.notices = NoticeMetrics(registry)
        self.pairs: dict[tuple[str, str], CallMetrics] = _Pairs(self)

    def observe(self, readings: Callable[[], Iterable[Reading]]) -> None:
        """Adds gauges that are read when somebody asks."""
        self.registry.register(Gauges(readings))

    def render(self) -> bytes:
        """All that is counted, and the gauges at this instant, in Prometheus' text format."""
        return self.registry.text()
