"""Where the functions of a Potassium app run, and that one which does not end costs its worker."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.local_runtime.server.live_runtime import PROGRAMS, LiveRuntime
from tests.waiting import wait_until


@pytest.fixture
def served() -> Iterator[LiveRuntime]:
    app = f"{PROGRAMS / 'potassium_thread.py'}:app"
    with LiveRuntime(app, "--grace", "0.5") as live:
        yield live


def test_what_the_import_made_belongs_to_the_thread_of_the_handlers(served: LiveRuntime) -> None:
    """And no loop runs there while they do."""
    with served.client as client:
        assert client.post("/plain", json={}).json() == {
            "word": "imported",
            "sqlite": 1,
            "run": 1,
            "main": True,
            "init": "MainThread",
        }


@pytest.mark.parametrize("route", ["/blocks", "/swallows"])
def test_an_async_handler_that_does_not_end_is_replaced_with_its_worker(
    served: LiveRuntime, route: str
) -> None:
    [before] = served.workers()
    with served.client as client:
        assert client.post(route, json={}).status_code == 504
        wait_until(lambda: served.workers() not in ([], [before]), "another worker is there")
        wait_until(lambda: served.answers("/readyz"), "it is ready")
        assert client.post("/steps", json={}).json() == {"steps": 0}
