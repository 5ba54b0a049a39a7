"""The part of the contract that is about failures: each has its class, and none tells too much."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec
import pytest

from adapters.base import Cancellable
from adapters.errors import BackendError, FailureClass
from spillgate_contract.playing import OnStage, check_usage, is_idle, started, whole
from spillgate_contract.stage import KEY, Stage, call_for, until

ENVELOPES = 1024 * 1024
"""Bytes by which a kind may state less than its platform takes: what its envelope may need."""


class Failures(OnStage):
    """Calls that fail, each in its class."""

    async def test_each_failure_has_its_class_and_says_nothing_that_it_should_not(
        self, failing: str, stage: Stage
    ) -> None:
        scenario = stage.scenarios[failing]
        async with started(stage, scenario.endpoint) as backend:
            with pytest.raises(BackendError) as caught:
                await whole(await backend.invoke(call_for(scenario)))
            await until(lambda: is_idle(backend))
        error = caught.value
        assert error.failure is scenario.fails
        assert error.message
        assert KEY not in error.message + error.detail + repr(backend)
        assert "Traceback" not in error.message
        assert str(Path.cwd()) not in error.message
        if error.usage is not None:
            check_usage(error.usage)

    async def test_a_deadline_is_kept(self, stage: Stage) -> None:
        async with started(stage) as backend:
            at_once = time.monotonic()
            call = call_for(stage.scenarios["slow"], at_once + 1.5)
            with pytest.raises(BackendError) as caught:
                await backend.invoke(call)
            assert caught.value.failure is FailureClass.TIMEOUT
            assert time.monotonic() - at_once < 5.0
            if isinstance(backend, Cancellable):
                await backend.cancel(call.id)
            await until(lambda: stage.running() == 0)

    async def test_a_body_above_the_stated_limit_is_refused_and_not_sent(
        self, stage: Stage
    ) -> None:
        """The caller is told the limit; the router filters on the same figure."""
        async with started(stage) as backend:
            limit = backend.capabilities.max_request_bytes
            if limit is None:
                pytest.skip("the kind states no limit")
            call = call_for(stage.scenarios["echo"])
            room = b'{"padding":"%b",' % (b"x" * (limit + ENVELOPES))
            large = msgspec.structs.replace(call, body=room + call.body.removeprefix(b"{"))
            with pytest.raises(BackendError) as caught:
                await backend.invoke(large)
        assert caught.value.failure is FailureClass.TOO_LARGE
        assert any(character.isdigit() for character in caught.value.message)
