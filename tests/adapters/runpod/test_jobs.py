"""RunPod's jobs as values."""

from __future__ import annotations

import json
from typing import Any

import pytest

from adapters.errors import BackendError, FailureClass
from adapters.runpod.jobs import RunPodJob, Warmth, decode_health, decode_job, failure_of, reply_of
from adapters.types import Usage

TRACEBACK = "Traceback (most recent call last):\n  File x\nValueError: boo\n"


def a_job(**fields: Any) -> RunPodJob:
    return decode_job(json.dumps({"id": "j1", "status": "COMPLETED", **fields}).encode())


def failed(error: Any) -> BackendError:
    found = failure_of(a_job(status="FAILED", error=error), Usage())
    assert found is not None
    return found


@pytest.mark.parametrize("status", ["COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT"])
def test_a_final_status_is_final(status: str) -> None:
    assert a_job(status=status).final


@pytest.mark.parametrize("status", ["IN_QUEUE", "IN_PROGRESS", "RUNNING", "WHAT_IS_THIS"])
def test_any_other_status_means_that_the_job_goes_on(status: str) -> None:
    assert not a_job(status=status).final


@pytest.mark.parametrize("body", [b"", b"[]", b"<html>", b'{"id":"x"}', b'{"status":3}'])
def test_what_is_no_job_is_a_failure(body: bytes) -> None:
    with pytest.raises(BackendError) as caught:
        decode_job(body)
    assert caught.value.failure is FailureClass.MALFORMED


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        (1500, 1.5), (1500.0, 1.5), ("1500", 1.5), (-3, None), (True, None), ({}, None), ([], None),
        ("soon", None), ("nan", None), ("inf", None), (1e300, None), (10**400, None), (None, None),
    ],
)  # fmt: skip
def test_a_figure_of_another_shape_decides_nothing(told: Any, seconds: float | None) -> None:
    job = a_job(executionTime=told, delayTime=told, output="hi")
    assert (job.ran_s, job.delay_s, job.final) == (seconds, seconds, True)
    assert a_job(workerId=7).worker is None
    assert Warmth(60.0).usage(job, submitted=0.0, now=1.0).exec_s == seconds


def test_an_error_that_is_json_keeps_type_and_message_and_loses_its_traceback_and_host() -> None:
    error = failed(
        json.dumps(
            {
                "error_type": "<class 'torch.cuda.OutOfMemoryError'>",
                "error_message": "boo",
                "error_traceback": TRACEBACK,
                "hostname": "pod-7",
                "worker_id": "w",
            }
        )
    )
    assert error.failure is FailureClass.FAILED
    assert error.message == "OutOfMemoryError: boo"


def test_the_error_of_a_generator_handler_loses_its_traceback() -> None:
    assert failed(f"handler: boo \ntraceback: {TRACEBACK}").message == "handler: boo"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ({"message": "bad", "code": 400}, FailureClass.INVALID),
        (json.dumps({"message": "bad", "type": "invalid_request_error"}), FailureClass.INVALID),
        (json.dumps({"message": "bad", "code": 501}), FailureClass.UNSUPPORTED),
        ({"message": "bad", "code": 503}, FailureClass.FAILED),
        ({"message": "bad"}, FailureClass.FAILED),
    ],
)
def test_a_handler_may_say_that_the_input_was_at_fault_and_nothing_else(
    error: Any, expected: FailureClass
) -> None:
    """It ran, so a class that would have it run elsewhere again is not believed."""
    found = failed(error)
    assert (found.failure, found.message) == (expected, "bad")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        ("plain words", "plain words"),
        ({"message": "an object"}, "an object"),
        ("[1]", "[1]"),
        (None, "The job failed at the platform."),
        ("", "The job failed at the platform."),
    ],
)
def test_other_errors_are_told_as_they_are(error: Any, message: str) -> None:
    assert failed(error).message == message


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("CANCELLED", FailureClass.CANCELLED),
        ("TIMED_OUT", FailureClass.TIMEOUT),
        ("EXPIRED", FailureClass.AMBIGUOUS),
    ],
)
def test_each_end_without_a_result_has_its_class_and_is_charged(
    status: str, expected: FailureClass
) -> None:
    usage = Usage(exec_s=1.0, reported=True)
    error = failure_of(a_job(status=status), usage)
    assert error is not None
    assert (error.failure, error.usage) == (expected, usage)


# --- answers ------------------------------------------------------------------------------------


@pytest.mark.parametrize("output", [5, "x", None, [], {"a": [1.5]}, [{"choices": []}]])
def test_the_output_of_an_infer_job_is_the_answer_as_it_is(output: Any) -> None:
    assert json.loads(reply_of(a_job(output=output), "infer", Usage()).body) == output


def test_a_handler_that_returned_nothing_answers_null() -> None:
    assert reply_of(a_job(), "infer", Usage()).body == b"null"


@pytest.mark.parametrize("wrap", [False, True])
def test_an_openai_answer_is_taken_out_of_a_list_of_one_and_its_tokens_counted(wrap: bool) -> None:
    """RunPod's vLLM worker is a generator: its one answer is a list of one."""
    body = {"choices": [{"text": ""}], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}
    reply = reply_of(a_job(output=[body] if wrap else body), "chat", Usage(exec_s=1.0))
    assert json.loads(reply.body) == body
    assert reply.usage == Usage(exec_s=1.0, input_tokens=3, output_tokens=2)


@pytest.mark.parametrize(
    "output",
    [
        {"error": {"message": "no such model", "code": 404}},
        [{"object": "error", "message": "no such model", "code": 404}],
    ],
)
def test_an_openai_error_in_a_completed_job_is_a_failure_that_was_run(output: Any) -> None:
    usage = Usage(exec_s=1.0)
    with pytest.raises(BackendError) as caught:
        reply_of(a_job(output=output), "chat", usage)
    assert caught.value.failure is FailureClass.GONE
    assert (caught.value.code, caught.value.usage) == ("404", usage)


@pytest.mark.parametrize("output", [None, "text", [{}, {}], 7])
def test_an_output_that_is_no_openai_answer_is_a_failure(output: Any) -> None:
    with pytest.raises(BackendError) as caught:
        reply_of(a_job(output=output), "chat", Usage())
    assert caught.value.failure is FailureClass.MALFORMED


# --- what it used -------------------------------------------------------------------------------


def test_times_are_milliseconds_on_the_wire_and_seconds_here() -> None:
    job = a_job(delayTime=1500, executionTime=250, workerId="w")
    usage = Warmth(5.0).usage(job, submitted=100.0, now=102.0)
    assert (usage.cold_s, usage.exec_s, usage.worker) == (1.5, 0.25, "w")
    assert usage.reported


def test_a_delay_on_a_worker_seen_just_before_is_queue_and_else_cold() -> None:
    warmth = Warmth(5.0)
    job = a_job(delayTime=2000, executionTime=1, workerId="w")
    first = warmth.usage(job, submitted=100.0, now=103.0)
    soon = warmth.usage(job, submitted=107.0, now=109.0)
    late = warmth.usage(job, submitted=115.0, now=118.0)
    assert [(usage.queue_s, usage.cold_s) for usage in (first, soon, late)] == [
        (0.0, 2.0),
        (2.0, 0.0),
        (0.0, 2.0),
    ]


def test_another_worker_is_cold_though_one_was_seen() -> None:
    warmth = Warmth(5.0)
    warmth.usage(a_job(executionTime=1, workerId="a"), submitted=100.0, now=100.0)
    job = a_job(delayTime=900, executionTime=1, workerId="b")
    assert warmth.usage(job, submitted=101.0, now=102.0).cold_s == 0.9


def test_where_no_worker_is_named_any_job_just_before_means_warm() -> None:
    warmth = Warmth(5.0)
    job = a_job(delayTime=900, executionTime=1)
    assert warmth.usage(job, submitted=100.0, now=101.0).cold_s == 0.9
    assert warmth.usage(job, submitted=102.0, now=103.0).queue_s == 0.9


def test_what_the_platform_did_not_say_is_unknown_and_not_zero() -> None:
    usage = Warmth(5.0).usage(a_job(), submitted=100.0, now=101.0)
    assert (usage.queue_s, usage.cold_s, usage.exec_s, usage.reported) == (None, None, None, False)


def test_the_workers_that_are_remembered_are_bounded() -> None:
    warmth = Warmth(5.0)
    for number in range(3000):
        warmth.usage(a_job(executionTime=1, workerId=str(number)), submitted=0.0, now=0.0)
    assert len(warmth._workers) == 1024


def test_health_is_read_leniently() -> None:
    health = decode_health(b'{"workers":{"idle":1,"running":2,"strange":5},"more":[]}')
    assert (health.warm, health.starting, health.queued) == (3, 0, 0)
