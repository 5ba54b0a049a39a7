"""Calls that wait for models: the socket side of a worker, with a fake loader and clock."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from gateway.clock import FakeClock, settle
from local_runtime import Batch, Request, Runtime
from local_runtime.app.model_sizes import ModelSizes
from local_runtime.protocol.events import CacheStatus, Cancel, Done, Ready, Run, Slots
from local_runtime.protocol.wire import FrameReader, decode_from_worker, frame
from local_runtime.webhooks import Webhooks
from local_runtime.worker.calls import WorkerCalls
from local_runtime.worker.jobs import Work
from local_runtime.worker.model_admission import MAX_PAUSE_S, MAX_WAITING, PAUSE_S, ModelAdmission
from local_runtime.worker.models.cache import LoadModel, ModelCache, Step, UnloadModel
from tests.local_runtime.worker.bench import FakeRunner, FakeTransport, end

app = Runtime("shared")
for name in ("a", "b"):
    app.model(name, memory=4, timeout=30)(lambda context: None)


@app.handler("/", models="*", timeout=10)
def plain(context: Any, request: Request, model: Any) -> Any: ...


@app.handler("/only", models="a")
def only(context: Any, request: Request, model: Any) -> Any: ...


@app.handler("/batch", models=["a", "b"], batch=Batch(max_size=4, max_wait_s=0.5))
def batch(context: Any, requests: list[Request], model: Any) -> Any: ...


@app.background("/later", models="*", timeout=10)
def later(context: Any, request: Request, model: Any) -> Any: ...


@app.handler("/none")
def none(context: Any, request: Request) -> Any: ...


WEBHOOK = b'{"webhook": "http://hook.example/"}'


class Bench:
    """A worker with one peer, whose models take ``size`` bytes each of four."""

    def __init__(self, size: int = 4) -> None:
        self.clock = FakeClock()
        self.runner = FakeRunner()
        self.steps: list[Step] = []
        self.gave_up: list[str] = []
        self.posted: list[bytes] = []
        self.webhooks = Webhooks(send=self.post)
        cache = ModelCache({name: ModelSizes(memory=size) for name in app.models}, 4)
        timeouts = {name: model.timeout_s for name, model in app.models.items()}
        self.calls = WorkerCalls(
            app=app,
            ready=Ready(1, tuple(app.handlers), "cpu", 0, 0, 0),
            runner=self.runner,
            webhooks=self.webhooks,
            give_up=self.gave_up.append,
            clock=self.clock.monotonic,
            grace_s=5.0,
            models=ModelAdmission(cache, timeouts, self.begin),
        )
        self.transport = FakeTransport()
        self.connection = self.calls.accept()
        self.connection.connection_made(self.transport)

    def post(self, url: str, body: bytes, headers: dict[str, str]) -> int:
        self.posted.append(body)
        return 200

    def begin(self, steps: Sequence[Step]) -> None:
        self.steps += steps

    def say(self, event: Run | Cancel) -> None:
        self.connection.data_received(frame(event))

    def call(self, id: int, model: str, route: str = "/", body: bytes = b"{}") -> None:
        self.say(Run(id, route, body, model=model))

    def end(self, work: Work) -> None:
        end(self.calls, self.runner, work, [Done(job.run.id, True, b"1") for job in work.jobs])

    def running(self) -> list[str]:
        """The models of the works that were begun so far."""
        return [job.model for work in self.runner.begun for job in work.jobs]

    async def done(self) -> dict[int, Done]:
        await settle()
        sent = [decode_from_worker(data) for data in FrameReader().feed(self.transport.written)]
        return {event.id: event for event in sent if isinstance(event, Done)}

    async def states(self) -> list[dict[str, str]]:
        """Where each model was, as the peer was sent it, from first to last."""
        return [{one.model: one.state for one in status.models} for status in await self.statuses()]

    async def statuses(self) -> list[CacheStatus]:
        await settle()
        sent = [decode_from_worker(data) for data in FrameReader().feed(self.transport.written)]
        return [event for event in sent if isinstance(event, CacheStatus)]


async def test_a_call_waits_for_its_model_and_is_told_how_long_apart_from_the_queue() -> None:
    """Three seconds for the model, two for the call before it."""
    bench = Bench()
    bench.call(1, "a")
    bench.call(2, "a")
    assert (bench.steps, bench.runner.begun) == ([LoadModel("a")], [])
    bench.clock.move(3)
    bench.calls.jobs.loaded("a", 3.0)
    assert bench.running() == ["a"]
    bench.clock.move(2)
    bench.end(bench.runner.begun[0])
    bench.end(bench.runner.begun[1])
    first, second = (await bench.done()).values()
    assert (first.cold_s, second.cold_s) == (3.0, 3.0)
    assert bench.runner.begun[1].jobs[0].arrived == bench.clock.monotonic() - 2


async def test_calls_that_need_no_model_or_another_go_on_meanwhile() -> None:
    bench = Bench()
    bench.call(1, "a")
    bench.say(Run(2, "/none", b"1"))
    assert bench.running() == [""]


async def test_a_model_goes_for_another_when_its_calls_have_ended() -> None:
    """Also those that were queued before; a new one waits its turn, behind the other."""
    bench = Bench()
    bench.call(1, "a")
    bench.calls.jobs.loaded("a", 1.0)
    bench.call(2, "a")
    bench.call(3, "b")
    bench.call(4, "a")
    assert bench.steps == [LoadModel("a")]
    bench.end(bench.runner.begun[0])
    assert bench.running() == ["a", "a"]
    bench.end(bench.runner.begun[1])
    assert bench.steps == [LoadModel("a"), UnloadModel("a"), LoadModel("b")]
    bench.calls.jobs.loaded("b", 1.0)
    assert bench.running() == ["a", "a", "b"]
    bench.end(bench.runner.begun[2])
    assert bench.steps[3:] == [UnloadModel("b"), LoadModel("a")]
    bench.calls.jobs.loaded("a", 1.0)
    assert bench.running() == ["a", "a", "b", "a"]


async def test_a_model_that_has_just_come_is_used_by_whom_it_was_loaded_for() -> None:
    """Though another is wanted already, and it is the only one that could go."""
    bench = Bench()
    bench.call(1, "a")
    bench.call(2, "b")
    bench.calls.jobs.loaded("a", 1.0)
    assert bench.running() == ["a"]
    assert bench.steps == [LoadModel("a")]


async def test_a_caller_who_leaves_wants_its_model_no_more() -> None:
    """Another's calls keep the model that was to go for it."""
    bench = Bench()
    bench.call(1, "a")
    bench.calls.jobs.loaded("a", 1.0)
    bench.clock.move(1)
    bench.call(2, "b")
    bench.clock.move(4)
    bench.say(Cancel(2))
    bench.call(3, "a")
    bench.end(bench.runner.begun[0])
    assert bench.running() == ["a", "a"]
    assert bench.steps == [LoadModel("a")]
    left = (await bench.done())[2]
    assert (left.kind, left.cold_s, left.queue_s) == ("cancelled", 4.0, 0.0)


async def test_a_queued_call_that_is_cancelled_gives_its_model_back() -> None:
    bench = Bench()
    bench.call(1, "a")
    bench.call(2, "a")
    bench.calls.jobs.loaded("a", 1.0)
    bench.say(Cancel(2))
    bench.end(bench.runner.begun[0])
    bench.call(3, "b")
    assert bench.steps[1:] == [UnloadModel("a"), LoadModel("b")]


async def test_a_call_past_its_time_out_keeps_its_model_until_it_comes_back() -> None:
    """It still uses it, whatever its caller was answered."""
    bench = Bench()
    bench.call(1, "a")
    bench.calls.jobs.loaded("a", 1.0)
    bench.clock.move(10)
    bench.calls.jobs.wake()
    assert (await bench.done())[1].kind == "timeout"
    bench.call(2, "b")
    assert bench.steps == [LoadModel("a")]
    bench.end(bench.runner.begun[0])
    assert bench.steps[1:] == [UnloadModel("a"), LoadModel("b")]


async def test_a_load_that_fails_is_tried_by_the_next_call_after_a_pause_that_doubles() -> None:
    """Until then calls fail at once, and say when."""
    bench = Bench()
    bench.call(1, "a")
    bench.call(2, "a")
    pause, loads = PAUSE_S, 1
    for _ in range(8):
        bench.calls.jobs.load_failed("a", "no")
        bench.call(3, "a")
        assert len(bench.steps) == loads
        bench.clock.move(pause)
        bench.call(4, "a")
        loads += 1
        assert bench.steps == [LoadModel("a")] * loads
        pause = min(MAX_PAUSE_S, pause * 2)
    done = await bench.done()
    assert [done[id].kind for id in (1, 2, 3)] == ["loading"] * 3
    pauses = [status.models[0].pause_s for status in await bench.statuses()]
    assert sorted(set(pauses)) == [0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0]
    assert done[1].message == "no; it is tried again in 1.0 s at the earliest"


async def test_a_load_that_never_ends_ends_the_worker() -> None:
    """Its thread cannot be stopped otherwise."""
    bench = Bench()
    bench.call(1, "a")
    bench.clock.move(29)
    bench.calls.jobs.wake()
    assert bench.gave_up == []
    bench.clock.move(1)
    bench.calls.jobs.wake()
    assert bench.gave_up == ["the model a was not loaded within its time-out"]


async def test_a_bounded_number_of_calls_wait_for_models() -> None:
    bench = Bench()
    for id in range(MAX_WAITING + 1):
        bench.call(id, "a")
    assert [(id, done.kind) for id, done in (await bench.done()).items()] == [
        (MAX_WAITING, "overloaded")
    ]
    bench.calls.jobs.loaded("a", 1.0)
    assert bench.running() == ["a"]


async def test_the_model_is_the_only_one_of_the_route_or_the_one_that_is_named() -> None:
    """To the gateway, or in the body."""
    bench = Bench()
    bench.call(1, "whatever", "/only")
    bench.calls.jobs.loaded("a", 1.0)
    bench.call(2, "", body=b'{"model": "a"}')
    bench.call(3, "")
    bench.call(4, "c", "/batch")
    bench.call(5, "", body=b"{")
    bench.end(bench.runner.begun[0])
    assert bench.running() == ["a", "a"]
    refusals = {id: (done.kind, done.message) for id, done in (await bench.done()).items()}
    assert refusals[3] == ("unsupported", "the call names no model")
    assert refusals[4] == ("unsupported", "/batch has no model 'c'")
    assert refusals[5][0] == "invalid"


async def test_a_batch_is_of_one_model_though_two_are_there() -> None:
    bench = Bench(size=1)
    bench.call(1, "a", "/batch")
    bench.calls.jobs.loaded("a", 1.0)
    bench.call(2, "b", "/batch")
    bench.calls.jobs.loaded("b", 1.0)
    bench.call(3, "a", "/batch")
    bench.clock.move(1)
    bench.calls.jobs.wake()
    for work in bench.runner.begun:
        bench.end(work)
    assert [[job.model for job in work.jobs] for work in bench.runner.begun] == [["a", "a"], ["b"]]


async def test_calls_that_wait_for_models_leave_their_slots_to_others() -> None:
    """So whoever counts slots goes on sending; however they end, no slot is offered twice."""
    bench = Bench()
    for id in (1, 2, 3):
        bench.call(id, "a")
    bench.call(4, "b")
    bench.say(Cancel(3))
    bench.calls.jobs.loaded("a", 1.0)
    for work in bench.runner.begun:
        bench.end(work)
    bench.calls.jobs.load_failed("b", "no")
    await settle()
    sent = [decode_from_worker(data) for data in FrameReader().feed(bench.transport.written)]
    slots = [event.slots for event in sent if isinstance(event, Slots)]
    assert slots == [2, 3, 4, 5, 4, 2, 1]


async def test_peers_are_told_of_each_model_that_comes_or_goes() -> None:
    bench = Bench()
    bench.call(1, "a")
    bench.calls.jobs.loaded("a", 1.0)
    bench.call(2, "b")
    bench.end(bench.runner.begun[0])
    assert await bench.states() == [
        {"a": "out", "b": "out"},
        {"a": "loading", "b": "out"},
        {"a": "in", "b": "out"},
        {"a": "leaving", "b": "out"},
        {"a": "out", "b": "loading"},
    ]


async def test_a_worker_that_ends_waits_for_calls_that_wait_for_models() -> None:
    bench = Bench()
    bench.call(1, "a")
    assert not bench.calls.idle
    bench.calls.jobs.loaded("a", 1.0)
    bench.end(bench.runner.begun[0])
    assert bench.calls.idle


async def test_a_background_job_has_its_id_at_once_and_waits_for_its_model() -> None:
    bench = Bench()
    bench.say(Run(1, "/later", b"{}", "job-1", model="a"))
    assert (await bench.done())[1].data == b'{"job_id":"job-1"}'
    assert bench.running() == []
    bench.calls.jobs.loaded("a", 1.0)
    assert bench.running() == ["a"]
    bench.call(2, "b")
    bench.end(bench.runner.begun[0])
    assert bench.steps == [LoadModel("a"), UnloadModel("a"), LoadModel("b")]


@pytest.mark.parametrize("model", ["", "gpt"])
async def test_a_background_job_without_a_model_of_the_app_is_promised_nothing(
    model: str,
) -> None:
    """The webhook hears nothing either."""
    bench = Bench()
    bench.say(Run(1, "/later", WEBHOOK, "job-1", model=model))
    done = (await bench.done())[1]
    assert (done.ok, done.kind) == (False, "unsupported")
    assert (bench.posted, bench.calls.idle) == ([], True)


async def test_a_background_job_whose_model_cannot_be_loaded_tells_its_webhook_why() -> None:
    """The next is refused in place of its id, for as long as no load is tried."""
    bench = Bench()
    bench.say(Run(1, "/later", WEBHOOK, "job-1", model="a"))
    bench.calls.jobs.load_failed("a", "no disk")
    bench.webhooks._waiting.join()
    (posted,) = bench.posted
    assert b'"job_id":"job-1","status":"failed","error":"no disk' in posted
    bench.say(Run(2, "/later", WEBHOOK, "job-2", model="a"))
    assert (await bench.done())[2].kind == "loading"
    assert (len(bench.posted), bench.calls.idle) == (1, True)


@pytest.mark.parametrize("loaded", [False, True])
async def test_a_background_job_that_is_cancelled_keeps_no_model(loaded: bool) -> None:
    """While it waits for its model, and while it runs; as the app's own server cancels it."""
    bench = Bench()
    bench.say(Run(1, "/later", b'{"model":"a"}', "job-1", direct=True))
    if loaded:
        bench.calls.jobs.loaded("a", 1.0)
    bench.say(Cancel(1))
    assert (await bench.done())[1].kind == "cancelled"
    for work in bench.runner.cancelled:
        bench.end(work)
    if not loaded:
        bench.calls.jobs.loaded("a", 1.0)
    bench.call(2, "b")
    assert bench.steps[1:] == [UnloadModel("a"), LoadModel("b")]


async def test_a_background_job_past_its_time_out_keeps_no_model() -> None:
    """Its thread has come back by then."""
    bench = Bench()
    bench.say(Run(1, "/later", b"{}", "job-1", model="a"))
    bench.calls.jobs.loaded("a", 1.0)
    bench.clock.move(10)
    bench.calls.jobs.wake()
    bench.end(bench.runner.begun[0])
    bench.call(2, "b")
    assert bench.steps[1:] == [UnloadModel("a"), LoadModel("b")]
