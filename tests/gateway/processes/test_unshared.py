"""What several processes would do wrong together is refused before any is started."""

from __future__ import annotations

import pytest

from gateway.clock import FakeClock
from gateway.policy.reader import read_with_places
from gateway.policy.syntax.problems import PolicyError
from gateway.processes.unshared import check_shareable

PRICES = """
prices:
  hour: {per_hour: 2, as_of: 2026-11-01, source: test}
  idle: {per_second: 0.001, bills: [start, run, idle], as_of: 2026-11-01, source: test}
  call: {per_call: 0.001, as_of: 2026-11-01, source: test}
"""
APP = "app: tests/programs/echo.py:app"
SERVER = 'kind: openai, base_url: "http://127.0.0.1:1"'


def problems(backend: str, more: str = "") -> list[tuple[str, str]]:
    text = (
        "version: 1\n"
        "models: {m: {task: chat, backends: [b]}}\n"
        f"backends: {{b: {{{backend}}}}}\n{PRICES}{more}"
    )
    policy, places = read_with_places(text, {})
    try:
        check_shareable(policy, places, FakeClock())
    except PolicyError as error:
        return [(problem.path, problem.message) for problem in error.problems]
    return []


@pytest.mark.parametrize(
    "backend",
    [
        f"kind: local, {APP}, workers: 2",
        f"kind: local, {APP}, price: hour",
        "kind: local, sockets: /run/workers",
        SERVER,
        f"{SERVER}, price: call",
        f"{SERVER}, price: hour",
        f"{SERVER}, price: idle, cold_start: {{p50: 1s, p95: 2s}}, idle_timeout: 5s",
    ],
    ids=[
        "local",
        "local by the hour",
        "found",
        "server",
        "server by the call",
        "server by the hour",
        "idle seconds",
    ],
)
def test_what_can_be_shared_is_not_refused(backend: str) -> None:
    assert problems(backend) == []


def test_what_takes_a_single_process_is_refused_in_its_place() -> None:
    ((found, message),) = problems(f"kind: local, {APP}, workers: {{engine: ray}}")
    assert found == "backends.b.workers.engine"
    assert "Ray" in message
    assert message.endswith("start without --workers")


def test_a_warm_pool_can_be_shared() -> None:
    assert problems(f"kind: local, {APP}", "warm_pool: {b: {ping_every: 60s}}\n") == []
