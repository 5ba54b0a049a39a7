"""Continuous batching through ``kind: local``: a real worker whose sequences come and go."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from adapters.errors import BackendError
from adapters.local.answers import Chunks
from adapters.local.backend import Local
from adapters.types import Reply
from tests.adapters.local.backends import answer, call, chunks, failure, running
from tests.waiting import until


async def test_the_warm_up_runs_the_sample_alone_and_as_many_times_as_there_are_places() -> None:
    """Five sequences before the first caller's, and none left behind."""
    async with running("spell.py:app") as backend:
        counts = await answer(backend, {}, "embeddings")
        assert backend.slots == 4
    assert (counts["admitted"], counts["evicted"]) == (5, 5)


async def test_a_whole_answer_and_a_stream_come_from_the_same_stepper() -> None:
    """With tokens, and each call's share of the device."""
    async with running("spell.py:app") as speller:
        reply = await speller.invoke(call({"text": "abc"}))
        assert json.loads(reply.body) == {"text": "abc!"}
        assert reply.usage is not None
        assert (reply.usage.input_tokens, reply.usage.output_tokens) == (1, 3)
        said = await chunks(speller, {"text": "abc"})
        assert (
            b"".join(one.data for one in said)
            == b'data: "a"\n\ndata: "b"\n\ndata: "c"\n\ndata: [DONE]\n\n'
        )
        usage = said[-1].usage
        assert usage is not None
        assert (usage.input_tokens, usage.output_tokens) == (1, 3)


async def test_a_short_sequence_that_comes_later_ends_before_a_long_one() -> None:
    """They are stepped together, and pay half a step each while they are."""
    async with running("spell.py:app") as speller:
        before = await steps(speller)
        long = asyncio.create_task(whole(speller, {"text": "x" * 12, "pause": 0.05}))
        await until(lambda: steps_past(speller, before + 1), "the long one is under way")
        short = await whole(speller, {"text": "yy", "pause": 0.05})
        assert not long.done()
        both = (await long, short)
        for reply in both:
            assert reply.usage is not None
            assert reply.usage.gpu_s < reply.usage.exec_s  # type: ignore[operator]


async def steps(speller: Local) -> int:
    count: int = (await answer(speller, {}, "embeddings"))["steps"]
    return count


async def steps_past(speller: Local, count: int) -> bool:
    return await steps(speller) > count


async def whole(backend: Local, body: Any) -> Reply:
    return await backend.invoke(call(body))


async def test_an_empty_text_is_refused_and_an_unspeakable_one_fails_alone() -> None:
    """Those beside them are answered."""
    async with running("spell.py:app") as speller:
        bodies = [{"text": "fine"}, {"text": ""}, {"text": "b@d"}, {"text": "b#d"}]
        found = await asyncio.gather(
            *[whole(speller, body) for body in bodies], return_exceptions=True
        )
        fine, empty, bad, broken = found
        assert isinstance(fine, Reply)
        assert json.loads(fine.body) == {"text": "fine!"}
        assert isinstance(empty, BackendError)
        assert "text must not be empty" in str(empty)
        assert "ValueError" in str(bad)
        assert "MemoryError" in str(broken)


async def test_a_sequence_past_its_time_out_is_told_and_the_others_go_on() -> None:
    """The worker is not replaced: the sequence left between two steps."""
    async with running("spell.py:app", handler="/hasty") as hasty:
        error = await failure(hasty, {"text": "x" * 100, "pause": 0.05})
        assert "longer than its 0.3 s" in str(error)
        assert json.loads((await whole(hasty, {"text": "ab"})).body) == {"text": "ab!"}


async def test_streams_whose_readers_leave_free_their_places() -> None:
    """Four such take every place, and would keep them for a quarter of a minute."""
    async with running("spell.py:app") as speller:
        for _ in range(4):
            await left_after_an_item(speller, {"text": "x" * 1500, "pause": 0.01})
        assert await answer(speller, {"text": "ab"}) == {"text": "ab!"}
        counts = await answer(speller, {}, "embeddings")
    assert counts["evicted"] == counts["admitted"] == 5 + 4 + 1
    assert counts["steps"] < 1000


async def left_after_an_item(backend: Local, body: Any) -> None:
    reply = await backend.invoke(call(body, stream=True))
    assert isinstance(reply.chunks, Chunks)
    await anext(reply.chunks)
    await reply.chunks.aclose()
