"""A backend with workers of its own that do not start."""

from __future__ import annotations

from typing import cast

from adapters.fake import Fake
from adapters.types import Probe
from gateway.backends.candidates import candidate_of
from gateway.clock import FakeClock
from tests.gateway.assembled import POLICY
from tests.gateway.backends.test_live import live_backend


def test_a_backend_whose_last_start_came_to_nothing_is_asked_last(clock: FakeClock) -> None:
    """Until it has a worker, of which it need not tell."""
    backend = live_backend(clock, text=POLICY.replace("slots: 2", "slots: 0"))
    cast(Fake, backend.adapter).starts_in = 3.0
    backend.probed(Probe(ready=False, warm_workers=0))
    assert candidate_of(backend, "chat", 0.0).blocked == ""
    backend.probed(Probe(ready=False, warm_workers=0, stuck=True))
    candidate = candidate_of(backend, "chat", 0.0)
    assert (candidate.blocked, candidate.last_resort) == ("not_ready", True)
    cast(Fake, backend.adapter).slots = 2
    assert candidate_of(backend, "chat", 0.0).blocked == ""
