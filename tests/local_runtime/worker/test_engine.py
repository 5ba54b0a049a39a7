"""The model's thread: how handlers are run, stopped and blamed."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from local_runtime import Batch, Request, Response
from local_runtime.app.runtime import Handler
from local_runtime.protocol.events import Done, Head, Piece, Run
from local_runtime.worker.engine import Engine
from local_runtime.worker.jobs import Job, Work


class FakeSink:
    """Keeps what the engine says."""

    def __init__(self) -> None:
        self.outputs: list[bytes] = []
        self.heads: list[Head] = []
        self.ended: asyncio.Future[list[Done]] = asyncio.get_running_loop().create_future()

    def output(self, job: Job, event: Piece) -> None:
        if isinstance(event, Head):
            self.heads.append(event)
        else:
            self.outputs.append(event.data)

    def finished(self, work: Work, results: list[Done]) -> Work | None:
        self.ended.set_result(results)
        return None


def ticking() -> Callable[[], float]:
    """A clock that goes on by a second each time it is read."""
    return map(float, itertools.count(100)).__next__


def work(function: Any, *bodies: bytes, batch: bool = False, stream: bool = False) -> Work:
    handler = Handler(route="/", function=function, batch=Batch() if batch else None)
    runs = [Run(id, "/", body, "", stream) for id, body in enumerate(bodies)]
    return Work(handler, [Job(run, handler, 99.0, lambda event: None) for run in runs], 99.0)


def engine(sink: FakeSink | None = None) -> Engine:
    return Engine({"k": 1}, sink or FakeSink(), clock=ticking())


async def test_a_handler_gets_the_context_and_its_times_are_measured() -> None:
    """Arrived at 99, begun at 100, run from 101 to 102."""
    (done,) = await engine().run(work(lambda context, request: [context, request.json], b"2"))
    assert done.data == b'[{"k":1},2]'
    assert (done.queue_s, done.exec_s, done.gpu_s, done.batch) == (1.0, 1.0, 1.0, 1)


async def test_a_batch_that_returns_too_few_results_fails_all_of_it_by_name() -> None:
    """Nobody can know whose result is missing."""
    results = await engine().run(work(lambda context, requests: [], b"1", b"2", batch=True))
    assert [done.message for done in results] == ["the model's handler failed (TypeError)"] * 2
    assert "one result a request: 1, got 0" in results[0].detail


async def test_a_split_batch_charges_each_its_share_of_the_run_that_was_lost() -> None:
    """A second lost by two, then a second alone."""

    def picky(context: Any, requests: list[Request]) -> list[Any]:
        if len(requests) > 1:
            raise MemoryError
        return [request.json for request in requests]

    results = await engine().run(work(picky, b"1", b"2", batch=True))
    assert [(done.data, done.exec_s, done.gpu_s) for done in results] == [
        (b"1", 2.0, 1.5),
        (b"2", 2.0, 1.5),
    ]


async def test_a_body_that_is_not_json_leaves_its_batch_before_it_runs() -> None:
    """The others run without it."""

    def sizes(context: Any, requests: list[Request]) -> list[Any]:
        return [len(requests)] * len(requests)

    results = await engine().run(work(sizes, b"1", b"{", b"3", batch=True))
    assert [done.kind or done.data for done in results] == [b"2", "invalid", b"2"]


async def test_an_asynchronous_handler_is_cancelled_at_its_await() -> None:
    """It may clean up."""
    seen: list[str] = []

    async def patient(context: Any, request: Request) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            seen.append("cleaned up")

    sink = FakeSink()
    runner, waiting = engine(sink), work(patient, b"1")
    runner.begin(waiting)
    await asyncio.sleep(0)
    runner.cancel(waiting)
    (done,) = await sink.ended
    assert (done.kind, seen) == ("cancelled", ["cleaned up"])


@pytest.mark.parametrize("batch", [False, True])
@pytest.mark.parametrize("error", [BaseException, asyncio.CancelledError, KeyboardInterrupt])
async def test_a_handler_fails_by_whatever_it_raises(
    error: type[BaseException], batch: bool
) -> None:
    """Nobody has cancelled the call, so it has failed; the poisoned one of a batch alone."""

    def one(context: Any, request: Request) -> Any:
        if request.json == 2:
            raise error
        return request.json

    def several(context: Any, requests: list[Request]) -> list[Any]:
        return [one(context, request) for request in requests]

    sink = FakeSink()
    runner = engine(sink)
    if batch:
        runner.begin(work(several, b"1", b"2", b"3", batch=True))
        good, bad, last = await sink.ended
        assert (good.data, last.data) == (b"1", b"3")
    else:
        runner.begin(work(one, b"2"))
        (bad,) = await sink.ended
    assert (bad.kind, bad.message) == ("failed", f"the model's handler failed ({error.__name__})")


@pytest.mark.parametrize("batch", [False, True])
async def test_a_work_that_is_cancelled_before_its_first_step_is_reported_all_the_same(
    batch: bool,
) -> None:
    """All its callers hung up while it was handed over: the device must be free."""
    ran: list[Any] = []
    sink = FakeSink()
    runner, unwanted = engine(sink), work(lambda *given: ran.append(given), b"1", batch=batch)
    runner.begin(unwanted)
    runner.cancel(unwanted)
    async with asyncio.timeout(10):
        (done,) = await sink.ended
    assert (done.kind, ran) == ("cancelled", [])


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_a_generator_that_nobody_reads_is_closed_between_two_items(
    asynchronous: bool,
) -> None:
    """Its ``finally`` runs, whichever sort it is of."""
    seen: list[str] = []
    streaming = work(None, b"1", stream=True)
    (job,) = streaming.jobs

    def numbers(context: Any, request: Request) -> Iterator[int]:
        try:
            for number in range(100):
                if number == 3:
                    job.close()
                yield number
        finally:
            seen.append("closed")

    async def numbers_async(context: Any, request: Request) -> AsyncIterator[int]:
        try:
            for number in numbers(context, request):
                yield number
        finally:
            seen.append("closed too")

    function = numbers_async if asynchronous else numbers
    sink = FakeSink()
    stopped = Work(Handler(route="/", function=function), [], 99.0)
    job.handler = stopped.handler
    stopped.jobs.append(job)
    (done,) = await engine(sink).run(stopped)
    assert done.kind == "cancelled"
    assert sink.outputs == [b"0", b"1", b"2"]
    assert seen == (["closed", "closed too"] if asynchronous else ["closed"])


async def test_a_stream_waits_when_its_reader_has_given_no_credit() -> None:
    """And goes on with the credit, from where it was."""

    def large(context: Any, request: Request) -> Iterator[str]:
        yield from ["x" * 600_000] * 3

    sink, streaming = FakeSink(), work(large, b"1", stream=True)
    engine(sink).begin(streaming)
    for _ in range(20):
        await asyncio.sleep(0)
    assert len(sink.outputs) == 2
    streaming.jobs[0].window.grant(1_200_000)
    (done,) = await sink.ended
    assert done.ok
    assert len(sink.outputs) == 3


async def test_a_stream_that_nobody_reads_frees_the_device_in_the_end() -> None:
    """A synchronous generator holds it: others would wait until its time-out."""

    def large(context: Any, request: Request) -> Iterator[str]:
        yield from ["x" * 2_000_000] * 2

    (done,) = await Engine({}, FakeSink(), stall_s=0.0).run(work(large, b"1", stream=True))
    assert (done.ok, done.kind) == (False, "timeout")
    assert "nobody read the stream" in done.message


def breaks(context: Any, request: Request) -> Iterator[Any]:
    """Says what it has used, and fails."""
    yield {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 5}}
    raise ValueError("too late")


async def test_tokens_that_a_stream_has_told_of_are_told_however_it_ends() -> None:
    (done,) = await engine().run(work(breaks, b"1", stream=True))
    assert (done.ok, done.input_tokens, done.output_tokens) == (False, 7, 5)


async def test_a_handler_may_decide_by_the_request_whether_it_streams() -> None:
    """A function that returns a generator is a stream; for a whole answer it is a list."""
    (done,) = await engine().run(work(lambda context, request: iter_of(2), b"1"))
    assert done.data == b"[0,1]"


def iter_of(count: int) -> Iterator[int]:
    yield from range(count)


def pieces(context: Any, request: Request) -> Response:
    """Two pieces of a text, with a status and a header."""
    return Response(
        status=201,
        headers={"Content-Type": "text/plain", "X-Size": 2},  # type: ignore[dict-item]
        body=(piece for piece in (b"a", b"b")),
    )


def direct(function: Any, *, stream: bool = False) -> Work:
    handler = Handler(route="/", function=function)
    run = Run(1, "/", b"1", "", stream, True)
    return Work(handler, [Job(run, handler, 99.0, lambda event: None)], 99.0)


async def test_bytes_in_pieces_go_to_the_apps_own_server_behind_their_head() -> None:
    """A number among the headers goes as text: the frame must stay readable."""
    sink = FakeSink()
    (done,) = await engine(sink).run(direct(pieces))
    assert sink.heads == [Head(1, 201, (("Content-Type", "text/plain"), ("X-Size", "2")))]
    assert sink.outputs == [b"a", b"b"]
    assert done.ok


async def test_bytes_in_pieces_are_one_answer_for_a_gateway() -> None:
    """With the status and the Content-Type of the handler."""
    sink = FakeSink()
    (done,) = await engine(sink).run(work(pieces, b"1"))
    assert (done.data, done.status, sink.outputs) == (b"ab", 201, [])
    assert done.headers[0] == ("Content-Type", "text/plain")


async def test_bytes_in_pieces_are_texts_in_a_stream_of_events() -> None:
    """Events hold JSON."""
    sink = FakeSink()
    await engine(sink).run(work(pieces, b"1", stream=True))
    assert (sink.outputs, sink.heads) == ([b'"a"', b'"b"'], [])


async def test_a_refusal_by_status_keeps_its_body_for_the_apps_own_server() -> None:
    """A gateway says the message in its own words."""
    answer = Response(json={"error": "no such voice"}, status=422, headers={"X-Why": "voice"})
    (done,) = await engine().run(work(lambda context, request: answer, b"1"))
    assert (done.kind, done.message) == ("invalid", "no such voice")
    assert (done.data, done.status) == (b'{"error":"no such voice"}', 422)
    assert done.headers == (("X-Why", "voice"),)


async def test_the_model_goes_straight_on_to_what_waits() -> None:
    """To be handed it by the other thread would leave the device idle."""
    said: list[str] = []

    def says(context: Any, request: Request) -> None:
        said.append(request.json)

    first, second = work(says, b'"a"'), work(says, b'"b"')

    class Following(FakeSink):
        def finished(self, work: Work, results: list[Done]) -> Work | None:
            return second if work is first else super().finished(work, results)

    sink = Following()
    engine(sink).begin(first)
    async with asyncio.timeout(5):
        await sink.ended
    assert said == ["a", "b"]
