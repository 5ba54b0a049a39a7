"""The part of the contract that is about answers: whole, streamed, many at once, and their cost."""

from __future__ import annotations

import asyncio
import json

import pytest

from adapters.types import Chunk
from spillgate_contract.playing import OnStage, check_usage, started
from spillgate_contract.stage import Stage, call_for


class Answers(OnStage):
    """Calls that are answered, whole or as a stream."""

    async def test_a_call_is_answered_with_json_and_what_it_used(self, stage: Stage) -> None:
        async with started(stage) as backend:
            reply = await backend.invoke(call_for(stage.scenarios["echo"]))
        assert b"hello" in reply.body.lower()
        assert json.loads(reply.body)
        assert reply.content_type == "application/json"
        assert reply.usage.exec_s is not None
        check_usage(reply.usage)

    async def test_many_calls_at_once_are_each_answered(self, stage: Stage) -> None:
        """Each with its own answer and with nobody else's."""
        words = [f"hello-{number:02}" for number in range(16)]
        async with started(stage) as backend:
            calls = [call_for(stage.scenarios["echo"], word=word) for word in words]
            replies = await asyncio.gather(*(backend.invoke(call) for call in calls))
        repeated = [
            [word for word in words if word.encode() in reply.body.lower()] for reply in replies
        ]
        assert repeated == [[word] for word in words]

    async def test_a_stream_comes_in_events_and_tells_at_its_end_what_it_used(
        self, streamed: str, stage: Stage
    ) -> None:
        scenario = stage.scenarios[streamed]
        async with started(stage, scenario.endpoint) as backend:
            reply = await backend.invoke(call_for(scenario))
            assert reply.chunks is not None
            assert reply.content_type.startswith("text/event-stream")
            chunks: list[Chunk] = [chunk async for chunk in reply.chunks]
        data = b"".join(chunk.data for chunk in chunks)
        assert data.startswith(b"data: ")
        assert data.endswith(b"\n\n")
        assert data.count(b"data: ") >= 3
        last = chunks[-1].usage
        assert last is not None
        assert last.exec_s is not None
        check_usage(last)

    async def test_a_cold_start_is_told_from_a_warm_call(self, stage: Stage) -> None:
        scenario = stage.scenarios.get("cold")
        if scenario is None:
            pytest.skip("the kind cannot tell, or its stage has no cold worker")
        async with started(stage, scenario.endpoint) as backend:
            if scenario.estimated:
                assert not (await backend.probe()).ready
            cold = await backend.invoke(call_for(scenario))
            warm = await backend.invoke(call_for(scenario))
        assert cold.usage.cold_s
        assert not warm.usage.cold_s
        if scenario.estimated:
            assert not cold.usage.reported
            assert not warm.usage.reported

    async def test_a_probe_answers_and_costs_no_call(self, stage: Stage) -> None:
        async with started(stage) as backend:
            await backend.invoke(call_for(stage.scenarios["echo"]))
            probe = await backend.probe()
            assert probe.ready
            assert stage.running() == 0
