"""Inference engines as their answers: what each says at the paths where it says something."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from adapters.openai.backend import OpenAICompatible, OpenAISettings
from gateway.clock import FakeClock
from tests.adapters.servers import RawServer, answer, read_request

VLLM = b"""# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="a {b}, c"} 2.0
vllm:num_requests_running{engine="1",model_name="a {b}, c"} 1.0
vllm:num_requests_waiting{engine="0",model_name="a {b}, c"} 4.0
vllm:num_requests_waiting{engine="1",model_name="a {b}, c"} 0.0
vllm:num_requests_waiting_by_reason{engine="0",model_name="a {b}, c",reason="capacity"} 4.0
vllm:engine_sleep_state{engine="0",sleep_state="awake"} 1.0
vllm:engine_sleep_state{engine="0",sleep_state="discard_all"} 0.0
vllm:time_to_first_token_seconds_bucket{le="+Inf"} 7.0
"""
SGLANG = b"""sglang:num_running_reqs{dp_rank="0",tp_rank="0"} 3.0
sglang:num_running_reqs{dp_rank="0",tp_rank="1"} 3.0
sglang:num_running_reqs{dp_rank="1",tp_rank="0"} 1.0
sglang:num_queue_reqs{dp_rank="0",priority=""} 5.0
sglang:num_queue_reqs{dp_rank="0",priority="1"} 2.0
sglang:num_queue_reqs{dp_rank="1",priority=""} 0.0
sglang:token_usage{dp_rank="0"} NaN
"""
TGI = b"tgi_batch_current_size 8\ntgi_queue_size 3\ntgi_request_count 900\n"
LLAMACPP = b"""# TYPE llamacpp:requests_processing gauge
llamacpp:requests_processing 1
llamacpp:requests_deferred 2
"""
LOADS = {
    "version": "0.5.6",
    "loads": [
        {"num_running_reqs": 3, "num_waiting_reqs": 5, "max_running_requests": 48},
        {"num_running_reqs": 1, "num_waiting_reqs": 0, "max_running_requests": 48},
    ],
}
GET_LOAD = [{"dp_rank": 0, "num_reqs": 8, "num_waiting_reqs": 5, "num_tokens": 900}]
INFO = {"model_id": "m", "max_concurrent_requests": 128, "max_client_batch_size": 4}
PROPS = {"total_slots": 4, "model_path": "m.gguf", "is_sleeping": False}
SLOTS = [{"id": 0, "is_processing": True}, {"id": 1, "is_processing": False}]
PYTHON = {"openapi": "3.1.0", "info": {"title": "🦙 llama.cpp Python API", "version": "0.3.36"}}

Pages = dict[str, bytes | dict[str, Any] | list[Any]]


class EngineServer:
    """Answers 200 with the page of a path and 404 where it has none; writes down what was asked.

    ``server`` is the header by which some name themselves. What ``pages`` holds may be changed
    at any time; a path in ``silent`` is never answered.
    """

    def __init__(self, pages: Pages, *, server: str = "uvicorn", healthy: bool = True) -> None:
        self.pages = dict(pages)
        self.server = server
        self.health = answer(b"", server=server) if healthy else None
        self.silent: set[str] = set()
        self.asked: list[str] = []

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            request = await read_request(reader)
            self.asked.append(request.target)
            if request.target in self.silent:
                await asyncio.Event().wait()
            writer.write(self._answer(request.target))

    def _answer(self, target: str) -> bytes:
        if target == "/health" and self.health is not None:
            return self.health
        if target == "/v1/models":
            return answer({"data": []}, server=self.server)
        page = self.pages.get(target)
        if page is None:
            return answer({"detail": "Not Found"}, 404, server=self.server)
        return answer(page, server=self.server)


@contextlib.asynccontextmanager
async def engine(
    clock: FakeClock, server: EngineServer, **settings: Any
) -> AsyncIterator[OpenAICompatible]:
    """An adapter, started, in front of it."""
    async with RawServer(server.talk).running() as raw:
        backend = OpenAICompatible("up", OpenAISettings(base_url=raw.url, **settings), clock)
        await backend.start()
        try:
            yield backend
        finally:
            await backend.aclose()
