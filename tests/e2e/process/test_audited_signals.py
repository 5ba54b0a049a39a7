"""What a signal makes a gateway do is in the audit log, once, however many processes serve."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.clock import SystemClock
from gateway.storage.audit import Act, AuditQuery
from gateway.storage.sqlite.keys import SqliteKeys
from tests.live import LiveGateway
from tests.waiting import until

CONFIG = """
backends: {b: {kind: openai, base_url: "http://127.0.0.1:9", engine: none}}
models: {m: {task: embeddings, backends: [b]}}
"""
MORE = CONFIG + "plans: {default: {concurrent: 4}}\n"
BROKEN = CONFIG + "plans: {default: {concurrent: -4}}\n"


@pytest.fixture(params=[1, 2], ids=["one process", "two processes"])
def gateway(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LiveGateway]:
    with LiveGateway(tmp_path, CONFIG, workers=request.param) as running:
        yield running


def acts(gateway: LiveGateway) -> list[Act]:
    """Those by signals, oldest first."""
    keys = SqliteKeys(gateway.data / "keys.db", clock=SystemClock())
    told = [entry.act for entry in reversed(keys.audit(AuditQuery()))]
    keys.close()
    return [one for one in told if one.actor.startswith("signal:")]


async def after(gateway: LiveGateway, number: int) -> list[Act]:
    await until(lambda: len(acts(gateway)) >= number, f"{number} acts are told", every_s=0.05)
    return acts(gateway)


async def test_a_reload_is_told_with_the_policy_that_it_left_in_force(
    gateway: LiveGateway,
) -> None:
    gateway.write_config(MORE)
    gateway.reload()
    [first] = await after(gateway, 1)
    assert (first.act, first.actor) == ("policy.reload", "signal:SIGHUP")
    assert first.outcome == "done"
    gateway.write_config(BROKEN)
    gateway.reload()
    _, second = await after(gateway, 2)
    assert second.details == first.details
    assert second.outcome.startswith("refused: ")
    assert "plans.default.concurrent: must be at least 1" in second.outcome


async def test_a_rolling_restart_is_told(tmp_path: Path) -> None:
    with LiveGateway(tmp_path, CONFIG, workers=2) as gateway:
        assert gateway.process is not None
        gateway.process.send_signal(signal.SIGUSR2)
        [act] = await after(gateway, 1)
    assert (act.act, act.actor) == ("processes.replace", "signal:SIGUSR2")
    assert act.outcome == "done"
