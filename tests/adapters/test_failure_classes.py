"""What each class of failure says, written out: whoever changes one has to say so twice."""

from __future__ import annotations

import pytest

from adapters.errors import BackendError, FailureClass, Fault, Ran

# whose fault it is, whether the call has run, whether it may be running there, what the caller gets
SAYS = {
    "unreachable": ("backend", "no", False, 502),
    "overloaded": ("backend", "no", False, 503),
    "loading": ("backend", "no", False, 503),
    "not_started": ("backend", "no", True, 503),
    "credential": ("backend", "no", False, 502),
    "quota": ("suspect", "no", False, 402),
    "gone": ("backend", "no", False, 502),
    "too_large": ("here", "no", False, 413),
    "context_length_exceeded": ("here", "no", False, 400),
    "unsupported": ("here", "no", False, 400),
    "invalid": ("request", "no", False, 400),
    "content_policy_violation": ("request", "no", False, 400),
    "failed": ("backend", "maybe", False, 502),
    "malformed": ("backend", "maybe", False, 502),
    "worker_died": ("backend", "no", False, 502),
    "timeout": ("backend", "maybe", True, 504),
    "ambiguous": ("backend", "maybe", True, 502),
    "truncated": ("backend", "yes", False, 502),
    "cancelled": ("backend", "yes", False, 502),
    "shortage": ("here", "no", False, 503),
}


def test_all_words_of_a_failure_are_made_fit_those_for_the_log_too() -> None:
    key = "the key"
    error = BackendError(FailureClass.FAILED, key, detail=key, code=key, type=key, param=key)
    told = error.reworded(lambda text: text.replace("key", "***"))
    shown = [told.message, told.detail, told.told, told.code, told.type, told.param]
    assert not any("key" in str(text) for text in shown)


def test_every_class_is_in_the_table_under_its_own_word() -> None:
    assert [failure.slug for failure in FailureClass] == list(SAYS)


@pytest.mark.parametrize("failure", FailureClass, ids=lambda failure: failure.slug)
def test_a_class_says_what_the_table_says(failure: FailureClass) -> None:
    fault, ran = failure.fault.value, failure.ran.value
    assert (fault, ran, failure.maybe_running, failure.status) == SAYS[failure.slug]


def test_a_failure_may_be_known_better_than_its_class() -> None:
    error = BackendError(
        FailureClass.OVERLOADED, "slow down", fault=Fault.SUSPECT, ran=Ran.MAYBE, status=429
    )
    assert (error.fault, error.ran, error.status) == (Fault.SUSPECT, Ran.MAYBE, 429)
    again = error.reclassed(FailureClass.LOADING)
    assert (again.fault, again.ran, again.status) == (Fault.BACKEND, Ran.NO, 429)


TRACE = 'Traceback (most recent call last):\n  File "app.py", line 1, in f\nValueError: bad\n'


@pytest.mark.parametrize(
    ("message", "detail", "told"),
    [
        ("slow down", "HTTP 429: slow down", "HTTP 429: slow down"),
        ("slow down", "slow down", "slow down"),
        ("slow down", "", "slow down"),
        ("HTTP 500: no", "no", "HTTP 500: no"),
        ("It broke off.", "after 12 bytes", "It broke off. (after 12 bytes)"),
        ("the model's handler failed", TRACE, "the model's handler failed (ValueError: bad)"),
    ],
    ids=["in the detail", "the same", "alone", "in the message", "both", "traceback"],
)
def test_an_operator_is_told_each_word_once(message: str, detail: str, told: str) -> None:
    """The rest of a traceback stands in the log of the worker that printed it."""
    assert BackendError(FailureClass.FAILED, message, detail=detail).told == told
