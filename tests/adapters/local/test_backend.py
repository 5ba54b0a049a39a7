"""Local workers as the gateway uses them: real processes, real sockets, every sort of answer."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest

from adapters.base import Cancellable, Warmable
from adapters.errors import BackendError, FailureClass
from adapters.types import Call
from local_runtime.webhook_post import ALLOW_PRIVATE
from tests.adapters.local.backends import answer, call, chunks, failure, running
from tests.waiting import until

# --- answers ------------------------------------------------------------------------------------


async def test_a_call_is_answered_with_the_handlers_json_and_its_times() -> None:
    """The request id reaches the handler; the usage is the runtime's own measurement."""
    async with running("echo.py:app") as backend:
        reply = await backend.invoke(call({"x": [1, "é"]}, id="req-1"))
        got = json.loads(reply.body)
        assert (got["echo"], got["id"]) == ({"x": [1, "é"]}, "req-1")
        usage = reply.usage
        assert usage.reported
        assert usage.worker == "home-0"
        assert usage.exec_s is not None
        assert usage.exec_s > 0
        assert usage.gpu_s == usage.exec_s


async def test_tokens_are_taken_from_an_openai_shaped_answer() -> None:
    """So that a price per token can be charged."""
    async with running("echo.py:app") as backend:
        usage = (await backend.invoke(call({}, "chat"))).usage
        assert (usage.input_tokens, usage.output_tokens) == (3, 2)


async def test_a_generator_comes_as_events_with_its_usage_apart_and_a_done_at_the_end() -> None:
    """Each chunk is framed for the wire; the done chunk knows tokens and times."""
    async with running("echo.py:app") as backend:
        got = await chunks(backend, {}, "chat")
        assert [chunk.kind for chunk in got] == ["data", "data", "usage", "done"]
        assert got[0].data == b'data: {"choices":[{"text":"a"}]}\n\n'
        assert got[-1].data == b"data: [DONE]\n\n"
        last = got[-1].usage
        assert last is not None
        assert (last.input_tokens, last.output_tokens, last.reported) == (3, 2, True)


SPEAKER = """
from local_runtime import Runtime

app = Runtime("speaker")

@app.handler("/v1/chat/completions")
def chat(context, request):
    for delta in ({"role": "assistant", "content": ""}, {"content": "a"}, {"content": ""}):
        yield {"choices": [{"index": 0, "delta": delta}]}
"""


async def test_an_event_that_only_says_who_speaks_holds_no_token(tmp_path: Path) -> None:
    """Until the first one a call may still go elsewhere."""
    program = tmp_path / "speaker.py"
    program.write_text(SPEAKER)
    async with running(f"{program}:app") as backend:
        got = await chunks(backend, {}, "chat")
        assert [chunk.tokens for chunk in got if chunk.kind == "data"] == [0, None, None]


async def test_a_whole_answer_to_a_caller_who_wants_a_stream_comes_as_one_event() -> None:
    """A handler need not stream."""
    async with running("echo.py:app") as backend:
        first, last = await chunks(backend, 5)
        assert b'"echo":5' in first.data
        assert last.kind == "done"


async def test_a_stream_for_a_caller_who_wants_a_whole_answer_comes_as_a_list() -> None:
    """A handler that can only stream serves everybody."""
    async with running("echo.py:app", handler="/count") as backend:
        assert [item["number"] for item in await answer(backend, {"to": 3})] == [0, 1, 2]


async def test_a_long_stream_waits_for_its_reader_and_arrives_whole() -> None:
    """8 MB through a window of 1 MB: the reader's credit lets the worker go on."""
    async with running("echo.py:app", handler="/count") as backend:
        got = await chunks(backend, {"to": 80, "pad": 100_000})
        numbers = [json.loads(chunk.data[6:])["number"] for chunk in got[:-1]]
        assert numbers == list(range(80))


async def test_a_reader_that_stands_still_holds_up_nobody_else() -> None:
    """One slow stream waits by itself; other calls pass on the same socket."""
    async with running("echo.py:app", handler="/count") as backend:
        reply = await backend.invoke(call({"to": 80, "pad": 100_000}, stream=True))
        assert reply.chunks is not None
        first = await anext(reply.chunks)
        assert b'"number":0' in first.data
        assert await answer(backend, {}, "chat")
        rest = [chunk async for chunk in reply.chunks]
        assert rest[-1].kind == "done"
        assert len(rest) == 80


async def test_requests_that_come_together_run_together_and_share_the_device_time() -> None:
    """Four calls, one run: each is charged a quarter."""
    async with running("echo.py:app", handler="/batch") as backend:
        replies = await asyncio.gather(*(backend.invoke(call(n)) for n in range(4)))
        assert [json.loads(reply.body) for reply in replies] == [
            {"double": 2 * n, "batch": 4} for n in range(4)
        ]
        for reply in replies:
            assert reply.usage.exec_s is not None
            assert reply.usage.gpu_s == pytest.approx(reply.usage.exec_s / 4)


async def test_a_poisoned_request_fails_alone() -> None:
    """The others of its batch are answered as if it had not been there."""
    async with running("echo.py:app", handler="/batch") as backend:
        bodies: list[Any] = [1, "poison", 3, 4]
        got = await asyncio.gather(
            *(backend.invoke(call(body)) for body in bodies), return_exceptions=True
        )
        error = got.pop(1)
        assert isinstance(error, BackendError)
        assert error.failure is FailureClass.FAILED
        assert error.message == "the model's handler failed (ValueError)"
        doubled = [json.loads(reply.body)["double"] for reply in got]  # type: ignore[union-attr]
        assert doubled == [2, 6, 8]


async def test_a_result_of_20_megabytes_arrives_whole() -> None:
    """And one of more than the limit is refused by name, without harm to the worker."""
    async with running("echo.py:app", handler="/big", max_message=24_000_000) as backend:
        assert len(await answer(backend, 20_000_000)) == 20_000_000
        error = await failure(backend, 30_000_000)
        assert error.failure is FailureClass.FAILED
        assert error.message.startswith("the result is 30000002 bytes; the limit is ")
        assert await answer(backend, 3) == "zzz"


async def test_a_request_above_the_limit_is_refused_before_it_is_sent() -> None:
    """The worker never sees it, and takes the next one."""
    async with running("echo.py:app", max_message=1_000_000) as backend:
        assert backend.capabilities.max_request_bytes is not None
        error = await failure(backend, "x" * 1_000_001)
        assert error.failure is FailureClass.TOO_LARGE
        assert (await answer(backend, 1))["echo"] == 1


async def test_a_flood_on_stdout_disturbs_no_answer(capfd: pytest.CaptureFixture[str]) -> None:
    """20 MB of print: the answer comes, and what was printed is in the log, marked."""
    async with running("echo.py:app", handler="/flood") as backend:
        assert await answer(backend, 10_000) == "done"
    assert "[worker 0] xxx" in capfd.readouterr().err


async def test_a_background_call_is_answered_at_once_and_its_result_is_posted() -> None:
    """To the URL that the request names, with the id that the caller was given."""
    posted: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        size = int(head.lower().partition(b"content-length:")[2].split()[0])
        posted.set_result(await reader.readexactly(size))
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    env = {ALLOW_PRIVATE: "1"}
    async with server, running("echo.py:app", handler="/later", env=env) as backend:
        hook = f"http://127.0.0.1:{port}/hook"
        reply = await backend.invoke(call({"n": 5, "webhook": hook}, id="job-1"))
        assert (reply.status, json.loads(reply.body)) == (202, {"job_id": "job-1"})
        assert reply.rest is not None
        used = await reply.rest()
        assert used.reported
        assert used.exec_s is not None
        async with asyncio.timeout(20):
            body = await posted
        assert json.loads(body) == {
            "job_id": "job-1",
            "status": "completed",
            "output": {"done": 5},
        }


async def test_a_background_call_that_fails_says_so_at_its_end() -> None:
    """To whoever waits for it, with what it used."""
    async with running("echo.py:app", handler="/later") as backend:
        reply = await backend.invoke(call({"no": "n"}))
        assert reply.rest is not None
        with pytest.raises(BackendError) as caught:
            await reply.rest()
        assert caught.value.failure is FailureClass.FAILED
        assert caught.value.usage is not None


# --- refusals and failures ----------------------------------------------------------------------


async def test_a_handlers_exception_shows_its_name_and_keeps_its_secrets() -> None:
    """The traceback is for the operator alone; the worker lives on."""
    async with running("echo.py:app", handler="/fail") as backend:
        error = await failure(backend, {})
        assert error.failure is FailureClass.FAILED
        assert error.message == "the model's handler failed (ValueError)"
        assert "secret of the model" in error.detail
        assert error.usage is not None
        assert error.usage.reported
        assert await answer(backend, {}, "chat")


async def test_a_handler_may_refuse_the_callers_input_in_its_own_words() -> None:
    """By InvalidInput, or by a status of 4xx."""
    async with running("echo.py:app", handler="/refuse") as backend:
        by_exception = await failure(backend, {})
        by_status = await failure(backend, "status")
        assert by_exception.failure is by_status.failure is FailureClass.INVALID
        assert by_exception.message == "text must not be empty"
        assert by_exception.param == "text"
        assert by_status.message == "no such voice"


async def test_a_body_that_is_not_json_is_the_callers_mistake() -> None:
    """Said in one line, by the runtime."""
    async with running("echo.py:app") as backend:
        with pytest.raises(BackendError, match="not valid JSON") as caught:
            await backend.invoke(Call(id="a", model="m", task="infer", body=b"{nope"))
        assert caught.value.failure is FailureClass.INVALID


async def test_a_value_that_json_has_no_word_for_is_the_handlers_failure() -> None:
    """And not a hang."""
    async with running("echo.py:app", handler="/odd") as backend:
        assert "TypeError" in (await failure(backend, {})).message


async def test_a_task_without_a_handler_is_unsupported_and_not_in_the_capabilities() -> None:
    """The router can know before it asks."""
    async with running("echo.py:app") as backend:
        assert (await failure(backend, {}, "embeddings")).failure is FailureClass.UNSUPPORTED
        assert backend.capabilities.tasks == {"chat", "infer", "infer_file", "other"}


async def test_a_generator_that_fails_breaks_its_stream_with_the_failure() -> None:
    """What came before is delivered; the end is an error, never a done."""
    async with running("echo.py:app", handler="/count") as backend:
        reply = await backend.invoke(call({"to": 5, "fail_at": 2}, stream=True))
        assert reply.chunks is not None
        first, second = [(await anext(reply.chunks)).data for _ in range(2)]
        assert b'"number":0' in first
        assert b'"number":1' in second
        with pytest.raises(BackendError, match="RuntimeError") as caught:
            await anext(reply.chunks)
        assert caught.value.failure is FailureClass.FAILED


# --- cancelling, deadlines ----------------------------------------------------------------------


async def test_a_call_past_its_deadline_fails_and_its_handler_is_stopped() -> None:
    """TIMEOUT for the caller, a cancel for the worker."""
    async with running("echo.py:app", handler="/block") as backend:
        error = await failure(backend, {}, deadline=time.monotonic() + 0.1, id="late")
        assert error.failure is FailureClass.TIMEOUT
        usage = await backend.cancel("late")
        assert usage is not None
        assert usage.exec_s is not None
        assert usage.exec_s > 0.05


async def test_a_cancelled_call_stops_its_handler_and_says_what_it_has_used(
    tmp_path: Path,
) -> None:
    """First the waiting task is cancelled, then the remote work, as the gateway does it."""
    began = tmp_path / "began"
    async with running("echo.py:app", handler="/block") as backend:
        waiting = asyncio.create_task(backend.invoke(call({"began": str(began)}, id="gone")))
        await until(began.exists, "the handler runs")
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        usage = await backend.cancel("gone")
        assert usage is not None
        assert usage.exec_s is not None
        assert usage.exec_s > 0
        assert await answer(backend, {}, "chat")


async def test_cancelling_from_elsewhere_ends_the_call_that_waits(tmp_path: Path) -> None:
    """CANCELLED for whoever waits; an unknown id is nobody's business."""
    began = tmp_path / "began"
    async with running("echo.py:app", handler="/block") as backend:
        waiting = asyncio.create_task(backend.invoke(call({"began": str(began)}, id="gone")))
        await until(began.exists, "the handler runs")
        assert await backend.cancel("gone") is not None
        with pytest.raises(BackendError) as caught:
            await waiting
        assert caught.value.failure is FailureClass.CANCELLED
        assert await backend.cancel("nobody") is None


async def test_a_stream_that_nobody_reads_on_is_stopped() -> None:
    """Closing the iterator frees the handler; the next call of a full house is served."""
    async with running("echo.py:app", handler="/count") as backend:
        for _ in range(6):
            reply = await backend.invoke(call({"to": 10_000, "pause": 0.01}, stream=True))
            assert reply.chunks is not None
            await anext(reply.chunks)
            await reply.chunks.aclose()  # type: ignore[attr-defined]
        assert len(await chunks(backend, {"to": 2})) == 3


async def test_it_has_the_optional_abilities() -> None:
    """The gateway finds them by their shape; a ping really runs the sample."""
    async with running("echo.py:app") as backend:
        assert isinstance(backend, Cancellable)
        assert isinstance(backend, Warmable)
        assert (await backend.ping()).exec_s
