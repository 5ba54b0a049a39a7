"""Kind openai in front of llama.cpp's own server, which computes a model of random weights."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from adapters.errors import BackendError, FailureClass
from adapters.openai.backend import OpenAICompatible, OpenAISettings
from adapters.types import Call, Probe
from gateway.clock import SystemClock
from tests.adapters.openai.tiny_llama import write_tiny_llama
from tests.live import ROOT, free_port


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("llama") / "tiny.gguf"
    write_tiny_llama(path)
    return path


@contextlib.contextmanager
def llamacpp(model: Path, *options: str) -> Iterator[str]:
    """A server's URL, once it listens."""
    port = str(free_port())
    command = [
        sys.executable,
        "-m",
        "tests.adapters.openai.llamacpp_server",
        str(model),
        port,
        *options,
    ]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.stdin.close()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


@contextlib.asynccontextmanager
async def backend_at(url: str) -> AsyncIterator[OpenAICompatible]:
    backend = OpenAICompatible("llama", OpenAISettings(base_url=url), SystemClock())
    await backend.start()
    try:
        yield backend
    finally:
        await backend.aclose()


def a_call(*, tokens: int, stream: bool = False, prompt: str = "hi") -> Call:
    asked = {"model": "m", "prompt": prompt, "max_tokens": tokens, "ignore_eos": True}
    body = json.dumps({**asked, "stream": stream}).encode()
    return Call(id="c1", model="m", task="completions", body=body, stream=stream)


async def until(backend: OpenAICompatible, seen: Callable[[Probe], bool]) -> Probe:
    for _ in range(200):
        probe = await backend.probe()
        if seen(probe):
            return probe
        await asyncio.sleep(0.02)
    raise AssertionError(f"never seen, at last {probe}")


async def test_the_server_is_known_and_its_slots_are_the_backends(model: Path) -> None:
    with llamacpp(model, "3", "--metrics") as url:
        async with backend_at(url) as backend:
            probe = await backend.probe()
            assert backend.slots == 3
    assert probe == Probe(
        ready=True, warm_workers=1, running=0, queued=0, counts_all=True, detail="llamacpp"
    )


async def test_a_whole_answer_and_a_stream_state_their_tokens(model: Path) -> None:
    with llamacpp(model, "1") as url:
        async with backend_at(url) as backend:
            whole = await backend.invoke(a_call(tokens=5))
            assert whole.usage.output_tokens == 5
            reply = await backend.invoke(a_call(tokens=5, stream=True))
            assert reply.chunks is not None
            chunks = [chunk async for chunk in reply.chunks]
    assert chunks[-1].kind == "done"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.output_tokens == 5


@contextlib.asynccontextmanager
async def kept_busy(backend: OpenAICompatible, callers: int) -> AsyncIterator[None]:
    """Callers who ask again as soon as they are answered."""

    async def ask(tokens: int) -> None:
        while True:
            assert (await backend.invoke(a_call(tokens=tokens))).usage.output_tokens == tokens

    asking = [asyncio.ensure_future(ask(400 + number)) for number in range(callers)]
    try:
        yield
    finally:
        for task in asking:
            task.cancel()
        ends = await asyncio.gather(*asking, return_exceptions=True)
    assert {type(end) for end in ends} == {asyncio.CancelledError}


async def test_of_three_callers_of_one_slot_one_is_served_and_the_others_wait(model: Path) -> None:
    with llamacpp(model, "1", "--metrics") as url:
        async with backend_at(url) as backend, kept_busy(backend, callers=3):
            probe = await until(backend, lambda probe: bool(probe.running and probe.queued))
            assert (probe.running, backend.slots) == (1, 1)


async def test_what_runs_is_told_without_metrics_too(model: Path) -> None:
    with llamacpp(model, "2") as url:
        async with backend_at(url) as backend, kept_busy(backend, callers=2):
            await until(backend, lambda probe: bool(probe.running))


async def test_a_call_that_is_left_gives_its_slot_back(model: Path) -> None:
    with llamacpp(model, "1", "--metrics") as url:
        async with backend_at(url) as backend:
            reply = await backend.invoke(a_call(tokens=450, stream=True))
            assert reply.chunks is not None
            await anext(reply.chunks)
            await reply.chunks.aclose()  # type: ignore[attr-defined]
            await until(backend, lambda probe: probe.running == 0)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_prompt_longer_than_the_context_may_fit_elsewhere(
    model: Path, stream: bool
) -> None:
    with llamacpp(model, "1") as url:
        async with backend_at(url) as backend:
            with pytest.raises(BackendError) as caught:
                await backend.invoke(a_call(tokens=5, prompt="long " * 400, stream=stream))
    assert caught.value.failure is FailureClass.CONTEXT_TOO_LONG


async def test_the_probe_lets_an_idle_server_fall_asleep_and_a_call_wakes_it(model: Path) -> None:
    with llamacpp(model, "1", "--sleep", "1") as url:
        async with backend_at(url) as backend:
            assert (await backend.probe()).ready
            probe = await until(backend, lambda probe: not probe.ready)
            assert probe == Probe(ready=False, warm_workers=0, detail="llamacpp, asleep")
            await backend.invoke(a_call(tokens=1))
            assert (await backend.probe()).ready
