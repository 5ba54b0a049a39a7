"""The socket's side of a worker, with a fake runner and a fake clock."""

from __future__ import annotations

import pytest

from local_runtime.protocol.events import (
    Cancel,
    Credit,
    Done,
    Head,
    Heartbeat,
    Output,
    Ping,
    Run,
    Slots,
)
from tests.local_runtime.worker.bench import READY, Bench


async def test_a_peer_is_told_first_what_the_worker_can_do() -> None:
    """Ready comes before everything else."""
    assert await Bench().sent() == [READY]


async def test_calls_run_one_after_another_and_each_is_answered_once() -> None:
    """In the order of their arrival."""
    bench = Bench()
    bench.say(Run(1, "/", b"1"))
    bench.say(Run(2, "/", b"2"))
    (first,) = bench.runner.begun
    bench.end(first)
    bench.end(bench.runner.begun[1])
    assert [event.id for event in (await bench.sent())[1:] if isinstance(event, Done)] == [1, 2]
    assert bench.calls.idle


async def test_a_batch_leaves_when_its_time_has_come() -> None:
    """One timer, set for the oldest."""
    bench = Bench()
    bench.say(Run(1, "/batch", b"1"))
    assert bench.runner.begun == []
    bench.wake(0.5)
    assert [len(work.jobs) for work in bench.runner.begun] == [1]


async def test_a_queued_call_that_is_cancelled_is_never_run() -> None:
    """Its answer comes at once."""
    bench = Bench()
    bench.say(Run(1, "/", b"1"))
    bench.say(Run(2, "/", b"2"))
    bench.say(Cancel(2))
    cancelled = (await bench.sent())[-1]
    assert isinstance(cancelled, Done)
    assert (cancelled.id, cancelled.kind, cancelled.exec_s) == (2, "cancelled", 0.0)
    bench.end(bench.runner.begun[0])
    assert len(bench.runner.begun) == 1


async def test_a_running_call_that_is_cancelled_is_answered_with_what_it_has_used() -> None:
    """Its handler can see it; what it returns later goes nowhere."""
    bench = Bench()
    bench.say(Run(1, "/", b"1"))
    bench.clock.move(3.0)
    bench.say(Cancel(1))
    cancelled = (await bench.sent())[-1]
    assert isinstance(cancelled, Done)
    assert (cancelled.kind, cancelled.exec_s) == ("cancelled", 3.0)
    (work,) = bench.runner.begun
    assert bench.runner.cancelled == [work]
    assert work.jobs[0].cancellation.is_set()
    count = len(await bench.sent())
    bench.calls.jobs.output(work.jobs[0], Output(1, b"2"))
    bench.end(work)
    assert len(await bench.sent()) == count


async def test_a_batch_is_cancelled_only_when_nobody_waits_for_any_of_it() -> None:
    """One caller who leaves does not take the others' answers along."""
    bench = Bench()
    bench.say(Run(1, "/batch", b"1"))
    bench.say(Run(2, "/batch", b"2"))
    bench.say(Cancel(1))
    assert bench.runner.cancelled == []
    bench.say(Cancel(2))
    assert bench.runner.cancelled == bench.runner.begun


async def test_a_handler_past_its_time_out_fails_its_call_and_closes_the_worker() -> None:
    """Until it comes back: then the slots are open again."""
    bench = Bench()
    bench.say(Run(1, "/", b"1"))
    bench.wake(10.0)
    done, slots = (await bench.sent())[1:]
    assert isinstance(done, Done)
    assert (done.kind, done.exec_s) == ("timeout", 10.0)
    assert slots == Slots(0)
    assert bench.runner.cancelled == bench.runner.begun
    bench.end(bench.runner.begun[0])
    assert (await bench.sent())[3:] == [Slots(4)]
    bench.wake(5.0)
    assert bench.gave_up == []


async def test_a_handler_that_does_not_come_back_costs_the_worker() -> None:
    """After the grace, and with its route in the reason."""
    bench = Bench()
    bench.say(Run(1, "/", b"1"))
    bench.wake(10.0)
    bench.wake(4.9)
    assert bench.gave_up == []
    bench.wake(0.1)
    assert bench.gave_up == ["the handler of / did not return after its time-out"]


async def test_the_calls_of_a_peer_that_is_gone_are_dropped() -> None:
    """Queued ones are not run, running ones are cancelled."""
    bench = Bench()
    bench.say(Run(1, "/", b"1"))
    bench.say(Run(2, "/", b"2"))
    bench.hang_up()
    assert bench.runner.cancelled == bench.runner.begun
    bench.end(bench.runner.begun[0])
    assert len(bench.runner.begun) == 1
    assert bench.calls.idle


async def test_a_route_that_does_not_exist_is_unsupported() -> None:
    """By name."""
    bench = Bench()
    bench.say(Run(1, "/nope", b"1"))
    answer = Done(1, False, kind="unsupported", message="the app has no handler for /nope")
    assert (await bench.sent())[1:] == [answer]


async def test_a_full_queue_says_that_it_is_overloaded() -> None:
    """1024 wait; the next one is told to go elsewhere, and nothing else changes."""
    bench = Bench()
    for id in range(1 + 1024 + 1):
        bench.say(Run(id, "/", b"1"))
    (refusal,) = (await bench.sent())[1:]
    assert isinstance(refusal, Done)
    assert (refusal.id, refusal.kind) == (1025, "overloaded")
    assert bench.calls.heartbeat() == Heartbeat(1, 1024, 1)


async def test_a_background_call_is_answered_before_it_runs() -> None:
    """With the id under which its result will be posted."""
    bench = Bench()
    bench.say(Run(1, "/later", b'{"webhook": null}', "req-7"))
    assert (await bench.sent())[1:] == [Done(1, True, b'{"job_id":"req-7"}')]
    assert len(bench.runner.begun) == 1
    bench.hang_up()
    assert bench.runner.cancelled == []
    bench.end(bench.runner.begun[0])
    assert len(await bench.sent()) == 2


async def test_a_background_call_that_is_followed_is_promised_and_its_end_is_told() -> None:
    """Without its result, which is the webhook's."""
    bench = Bench()
    bench.say(Run(1, "/later", b"{}", "req-7", True, follows=True))
    assert (await bench.sent())[1:] == [Head(1, 202)]
    bench.end(bench.runner.begun[0])
    assert (await bench.sent())[2] == Done(1, True)


async def test_a_background_call_that_is_followed_can_be_cancelled() -> None:
    bench = Bench()
    bench.say(Run(1, "/later", b"{}", "req-7", follows=True))
    bench.say(Cancel(1))
    end = (await bench.sent())[2]
    assert isinstance(end, Done)
    assert end.kind == "cancelled"


async def test_a_background_call_goes_on_when_whoever_followed_it_is_gone() -> None:
    """It was promised."""
    bench = Bench()
    bench.say(Run(1, "/later", b"{}", "req-7", follows=True))
    bench.hang_up()
    assert bench.runner.cancelled == []
    assert not bench.runner.begun[0].jobs[0].cancellation.is_set()


async def test_a_handler_that_spins_past_what_its_caller_waits_for_is_ended_and_replaced() -> None:
    """The caller's bound counts where the handler's own is longer; then come the grace, and a new
    process."""
    bench = Bench()
    bench.say(Run(1, "/", b"1", within=3.0))
    bench.wake(3.0)
    end = (await bench.sent())[1]
    assert isinstance(end, Done)
    assert (end.kind, end.message) == ("timeout", "the handler ran longer than its 3 s")
    bench.wake(5.0)
    assert bench.gave_up == ["the handler of / did not return after its time-out"]


async def test_a_batch_is_ended_when_none_of_its_callers_waits_any_more() -> None:
    bench = Bench()
    for id, within in ((1, 3.0), (2, 5.0)):
        bench.say(Run(id, "/batch", b"1", within=within))
    [work] = bench.runner.begun
    assert work.ends_at - work.started == 5.0


async def test_a_ping_runs_the_sample_and_keeps_its_answer_to_itself() -> None:
    """What counts is that it ran, and how long."""
    bench = Bench()
    bench.say(Ping(9))
    (work,) = bench.runner.begun
    assert work.jobs[0].run.body == b'{"n":1}'
    bench.end(work)
    assert (await bench.sent())[1:] == [Done(9, True, b"")]


async def test_credit_reaches_the_stream_and_no_other() -> None:
    """An unknown id is ignored: its stream has just ended."""
    bench = Bench()
    bench.say(Run(1, "/", b"1", "", True))
    window = bench.runner.begun[0].jobs[0].window
    assert not window.spend(1024 * 1024)
    bench.say(Credit(2, 500))
    assert not window.spend(0)
    bench.say(Credit(1, 500))
    assert window.spend(0)


async def test_a_ping_for_a_route_runs_that_routes_sample_or_nothing() -> None:
    """A route without a sample is answered at once."""
    bench = Bench()
    bench.say(Ping(1, "/"))
    bench.say(Ping(2, "/batch"))
    (work,) = bench.runner.begun
    assert work.handler.route == "/"
    assert (await bench.sent())[1:] == [Done(2, True)]


async def test_the_apps_own_server_waits_for_the_end_of_a_background_call() -> None:
    """It keeps the result itself; a gateway is told the id at once."""
    bench = Bench()
    bench.say(Run(1, "/later", b"{}", "req-1", False, True))
    assert (await bench.sent())[1:] == []
    bench.end(bench.runner.begun[0])
    assert (await bench.sent())[1:] == [Done(1, True, b"1")]


async def test_what_was_held_for_a_peer_that_hung_up_meanwhile_is_dropped() -> None:
    """The socket is closed before the turn of the loop ends, and a write would raise."""
    bench = Bench()
    bench.calls.close()
    bench.transport.closing = True
    assert await bench.sent() == []


async def test_calls_of_one_bucket_run_together_and_each_bucket_on_its_own() -> None:
    """The key is computed from the request where it waits."""
    bench = Bench()
    for id, n in enumerate((8, 16, 8), 1):
        bench.say(Run(id, "/padded", b'{"n":%d}' % n))
    bench.wake(0.5)
    bench.end(bench.runner.begun[0])
    batches = [[job.run.id for job in work.jobs] for work in bench.runner.begun]
    assert batches == [[1, 3], [2]]


@pytest.mark.parametrize(
    ("body", "kind", "message"),
    [
        (b"{}", "failed", "the model's handler failed (KeyError)"),
        (b'{"n":[]}', "failed", "the model's handler failed (TypeError)"),
        (b"{", "invalid", "the request body is not valid JSON"),
        (b"[" * 100_000, "invalid", "the request body is not valid JSON: it nests too deeply"),
    ],
)
async def test_a_bucket_function_that_fails_fails_that_call_alone(
    body: bytes, kind: str, message: str
) -> None:
    """It never waits, and those beside it run."""
    bench = Bench()
    bench.say(Run(1, "/padded", b'{"n":1}'))
    bench.say(Run(2, "/padded", body))
    bench.wake(0.5)
    (begun,) = bench.runner.begun
    assert [job.run.id for job in begun.jobs] == [1]
    (done,) = [event for event in await bench.sent() if isinstance(event, Done)]
    assert (done.id, done.kind) == (2, kind)
    assert done.message.startswith(message)


@pytest.mark.parametrize("how", ["cancelled", "timeout"])
async def test_a_sequence_that_is_ended_early_reports_what_it_used_so_far(how: str) -> None:
    """Its share of the steps and its tokens, not the time that it shared with others."""
    bench = Bench()
    bench.say(Run(1, "/steps", b"{}"))
    (work,) = bench.runner.begun
    meter = work.jobs[0].meter
    assert meter is not None
    meter.took(3.0, 2)
    meter.count(7, 5)
    if how == "cancelled":
        bench.clock.move(4.0)
        bench.say(Cancel(1))
    else:
        bench.wake(10.0)
    (done,) = [event for event in await bench.sent() if isinstance(event, Done)]
    assert (done.kind, done.gpu_s, done.batch) == (how, 1.5, 2)
    assert (done.input_tokens, done.output_tokens) == (7, 5)
    assert bench.runner.cancelled == [work]


async def test_a_sequence_past_its_time_out_keeps_no_other_from_coming() -> None:
    """The worker goes on offering its places; a step that hangs is found out after the grace."""
    bench = Bench()
    bench.say(Run(1, "/steps", b"{}"))
    bench.wake(10.0)
    assert not [event for event in await bench.sent() if isinstance(event, Slots)]
    bench.wake(5.0)
    assert bench.gave_up == ["the handler of /steps did not return after its time-out"]


async def test_sequences_beyond_the_bound_wait_and_begin_when_one_has_ended() -> None:
    """The queue of the worker is theirs, and its bound."""
    bench = Bench()
    for id in (1, 2, 3):
        bench.say(Run(id, "/steps", b"{}"))
    assert [work.jobs[0].run.id for work in bench.runner.begun] == [1, 2]
    bench.end(bench.runner.begun[1])
    assert [work.jobs[0].run.id for work in bench.runner.begun] == [1, 2, 3]


async def test_a_worker_is_not_idle_before_the_last_answer_is_given() -> None:
    """Its model's thread has ended the work, and is about to say so: to exit now would lose it."""
    bench = Bench()
    bench.say(Run(1, "/", b"1"))
    (work,) = bench.runner.begun
    following = bench.calls.jobs.after(work)
    assert not bench.calls.idle
    bench.calls.jobs.finished(work, [Done(1, True, b"1")], following)
    assert bench.calls.idle


async def test_a_route_that_takes_models_is_unsupported_in_an_app_that_has_none() -> None:
    """Nothing would ever bring the model that the call would wait for."""
    bench = Bench()
    bench.say(Run(1, "/any", b"{}", model="m"))
    (refusal,) = (await bench.sent())[1:]
    assert isinstance(refusal, Done)
    assert (refusal.kind, refusal.message) == ("unsupported", "/any has no model 'm'")
    assert bench.calls.idle
