"""What each class of failure decides, written out: whoever changes one has to say so twice."""

from __future__ import annotations

import pytest

from adapters.errors import FailureClass

# another may be tried, this one is blamed, the call may be running there, what the caller gets
DECIDES = {
    "unreachable": (True, True, False, 502),
    "overloaded": (True, True, False, 503),
    "loading": (True, False, False, 503),
    "credential": (True, True, False, 502),
    "gone": (True, True, False, 502),
    "too_large": (True, False, False, 413),
    "unsupported": (True, False, False, 400),
    "invalid": (False, False, False, 400),
    "failed": (False, False, False, 502),
    "worker_died": (True, True, False, 502),
    "timeout": (False, False, True, 504),
    "ambiguous": (False, True, True, 502),
    "truncated": (False, True, False, 502),
    "cancelled": (False, False, False, 499),
}


def test_every_class_is_in_the_table_under_its_own_word() -> None:
    assert [failure.slug for failure in FailureClass] == list(DECIDES)


@pytest.mark.parametrize("failure", FailureClass, ids=lambda failure: failure.slug)
def test_a_class_decides_what_the_table_says(failure: FailureClass) -> None:
    decides = (failure.try_next, failure.blames, failure.maybe_running, failure.status)
    assert decides == DECIDES[failure.slug]


@pytest.mark.parametrize("failure", FailureClass, ids=lambda failure: failure.slug)
def test_a_call_that_may_be_running_is_never_given_to_another(failure: FailureClass) -> None:
    assert not (failure.maybe_running and failure.try_next)
