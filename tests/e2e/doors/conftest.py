"""A gateway whose model answers as it is told to."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.live import LiveGateway

CONFIG = """
backends:
  home: {kind: local, app: tests/programs/doors.py:app, required: true, price: here}
models:
  echo: {task: infer, backends: [home]}
  lab/echo: {task: infer, backends: [home]}
prices:
  here: {per_hour: 3.6, as_of: 2026-11-01, source: test}
"""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveGateway]:
    with LiveGateway(tmp_path_factory.mktemp("doors"), CONFIG) as live:
        yield live
