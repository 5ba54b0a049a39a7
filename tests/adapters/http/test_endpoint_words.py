"""What a platform says of its endpoint is told from what it says of a call."""

from __future__ import annotations

import pytest

from adapters.errors import BackendError, FailureClass, Fault, Ran
from adapters.http.endpoint_words import about_the_endpoint, named_in, no_job

F = FailureClass


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("endpoint paused", F.GONE),
        ("The endpoint abc-123 is currently disabled.", F.GONE),
        ("Model 'a/b' does not exist", F.GONE),
        ("no such deployment", F.GONE),
        ("Bad Request: Invalid state", F.GONE),
        ("This workspace has been suspended", F.GONE),
        ("Insufficient balance", F.QUOTA),
        ("You are out of credits", F.QUOTA),
        ("workspace billing cycle spend limit reached", F.QUOTA),
        ("no workers available", F.OVERLOADED),
        ("max workers is 0", F.OVERLOADED),
        ("Model is not ready, it is still building or deploying", F.LOADING),
        ("function calling is disabled for this model", None),
        ("model thinking is disabled", None),
        ("the model got an unknown argument", None),
        ("unknown payment method in the document", None),
        ("no credit card number was found", None),
        ("prompt is required", None),
        ("the image could not be loaded", None),
        ("", None),
    ],
)
def test_words_are_of_the_endpoint_or_of_something_else(
    said: str, meant: FailureClass | None
) -> None:
    assert named_in(said) is meant


@pytest.mark.parametrize(
    ("kind", "status", "own", "meant"),
    [
        (F.INVALID, 400, False, F.GONE),
        (F.CREDENTIAL, 403, False, F.GONE),
        (F.FAILED, 500, True, F.GONE),
        (F.FAILED, 500, False, F.FAILED),
        (F.CONTEXT_TOO_LONG, 400, False, F.CONTEXT_TOO_LONG),
    ],
)
def test_they_beat_a_status_where_no_code_of_the_callers_model_can_have_said_them(
    kind: FailureClass, status: int, own: bool, meant: FailureClass
) -> None:
    said = "the endpoint is paused"
    error = BackendError(kind, said, detail=f"HTTP {status}: {said}", status=status)
    understood = about_the_endpoint(error, no_handlers=own)
    assert understood.failure is meant
    if meant is F.GONE:
        assert (understood.fault, understood.ran, understood.status) == (
            Fault.SUSPECT, Ran.NO, status,
        )  # fmt: skip


def test_words_in_the_place_of_a_job_mean_that_nothing_ran() -> None:
    for answer in ({"error": "what is this"}, {"detail": "endpoint paused"}):
        refused = no_job(answer)
        assert refused is not None
        assert refused.ran is Ran.NO
    assert no_job({}) is no_job(None) is no_job({"error": ""}) is None
