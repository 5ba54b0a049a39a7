"""What several processes would do wrong together is refused before any is started."""

from __future__ import annotations

import pytest

from gateway.clock import FakeClock
from gateway.policy.problems import PolicyError
from gateway.policy.reader import read_with_places
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
    ],
    ids=["local", "local by the hour", "found", "server", "server by the call"],
)
def test_what_can_be_shared_is_not_refused(backend: str) -> None:
    assert problems(backend) == []


@pytest.mark.parametrize(
    ("backend", "path", "says"),
    [
        (f"kind: local, {APP}, workers: {{engine: ray}}", "backends.b.workers.engine", "Ray"),
        (f"{SERVER}, price: hour", "backends.b.price", "the whole machine"),
        (
            f"{SERVER}, price: idle, cold_start: {{p50: 1s, p95: 2s}}, idle_timeout: 5s",
            "backends.b.price",
            "idle seconds",
        ),
    ],
    ids=["ray", "a machine by the hour", "idle seconds"],
)
def test_what_takes_a_single_process_is_refused_in_its_place(
    backend: str, path: str, says: str
) -> None:
    ((found, message),) = problems(backend)
    assert found == path
    assert says in message
    assert message.endswith("start without --workers")


def test_a_warm_pool_takes_a_single_process() -> None:
    more = "warm_pool: {b: {ping_every: 60s}}\n"
    ((path, message),) = problems(f"kind: local, {APP}", more)
    assert path == "warm_pool.b"
    assert "of its own" in message
