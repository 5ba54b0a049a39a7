"""The log says when a backend goes away and why, and when it is back."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.errors import BackendError, FailureClass, unreachable
from adapters.types import Probe
from gateway.clock import FakeClock
from gateway.warm.prober import Prober
from tests.gateway.assembled import POLICY, assembled

GONE = unreachable("vllm.internal", 8000, "Name or service not known").as_probe()
REFUSED = BackendError(FailureClass.CREDENTIAL, "The key was not accepted.").as_probe()


@pytest.mark.parametrize("name", ["home", "burst"], ids=["that is warm", "that may sleep"])
@pytest.mark.parametrize(
    ("said", "told"),
    [
        (GONE, "The backend could not be reached. (vllm.internal:8000: Name or service not known)"),
        (REFUSED, "The key was not accepted."),
    ],
    ids=["is not reached", "refuses us"],
)
async def test_a_backend_goes_away_once_and_is_back_once(
    tmp_path: Path,
    clock: FakeClock,
    caplog: pytest.LogCaptureFixture,
    name: str,
    said: Probe,
    told: str,
) -> None:
    async with assembled(tmp_path, clock) as gateway:
        prober = Prober(active=lambda: gateway.inner.active, clock=clock)
        with caplog.at_level("INFO", logger="spillgate"):
            for answer in (Probe(ready=True), said, said, Probe(ready=True), Probe(ready=True)):
                gateway.fake(name).says = answer
                await prober.tick()
                await clock.advance(20.0)
    lines = [one.getMessage() for one in caplog.records if one.getMessage().startswith(name)]
    assert lines == [f"{name} is away: {told}", f"{name} is back"]


async def test_one_that_sleeps_is_not_away(
    tmp_path: Path,
    clock: FakeClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with assembled(tmp_path, clock) as gateway:
        prober = Prober(active=lambda: gateway.inner.active, clock=clock)
        for answer in (Probe(ready=True), Probe(ready=False), Probe(ready=True)):
            gateway.fake("burst").says = answer
            await prober.tick()
            await clock.advance(20.0)
    assert "burst is" not in caplog.text


async def test_readyz_tells_no_stranger_where_it_is(tmp_path: Path, clock: FakeClock) -> None:
    required = POLICY.replace("home: {kind: fake,", "home: {kind: fake, required: true,")
    async with assembled(tmp_path, clock, required) as gateway:
        gateway.fake("home").says = GONE
        await Prober(active=lambda: gateway.inner.active, clock=clock).tick()
        missing = " ".join(gateway.inner.readiness().missing)
    assert "could not be reached" in missing
    assert "vllm.internal" not in missing
