"""Predictions as values: the object that Cog's server and Replicate's cloud both answer with. Pure.

Times in ``metrics`` are seconds. Only ``status`` says how a prediction stands: a failed one is
answered with HTTP 200 by Cog, and an unfinished one with 201 or 202 by Replicate.

Sources: https://replicate.com/docs/topics/predictions/lifecycle,
https://github.com/replicate/cog/blob/main/docs/http.md
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec

from adapters.errors import BackendError, FailureClass, Fault
from adapters.http.failures import clean
from adapters.http.outputs import answer_of
from adapters.settings import Secret
from adapters.shapes.error_words import words_in
from adapters.shapes.json_texts import read
from adapters.types import Reply, Task, Usage

_FINAL = frozenset(("succeeded", "failed", "canceled", "aborted"))
_NOTHING = msgspec.Raw(b"")
_EMPTY = frozenset((b"", b"null"))


class Prediction(msgspec.Struct, frozen=True, kw_only=True):
    """``output`` under any status but succeeded is progress, not a result."""

    id: str = ""
    status: Annotated[str, msgspec.Meta(min_length=1)]
    output: msgspec.Raw = _NOTHING
    error: Any = None
    metrics: dict[str, Any] | None = None
    created_at: str | None = None
    started_at: str | None = None
    data_removed: bool | None = None
    urls: dict[str, str] | None = None
    logs: str | None = None

    @property
    def pieces(self) -> tuple[msgspec.Raw, ...]:
        """Of its output, where that comes in pieces."""
        if not bytes(self.output).startswith(b"["):
            return ()
        return tuple(msgspec.json.decode(self.output, type=list[msgspec.Raw]))

    @property
    def final(self) -> bool:
        """Whether it has ended. An unknown status has not: the caller's deadline bounds it."""
        return self.status in _FINAL

    @property
    def predict_time(self) -> float | None:
        """Seconds that the model ran; none for one that ended before it began."""
        if self.never_began:
            return 0.0
        return self._measured

    @property
    def never_began(self) -> bool:
        """Whether it ended before the model was run: aborted, or cancelled or failed (as its setup
        does) with the instant of its creation, none of a start, and no output."""
        if self.status not in ("canceled", "failed"):
            return self.status == "aborted"
        began = self.started_at is not None or self._measured is not None
        return self.created_at is not None and not began and bytes(self.output) in _EMPTY

    @property
    def _measured(self) -> float | None:
        seconds = (self.metrics or {}).get("predict_time")
        return float(seconds) if isinstance(seconds, int | float) else None


def decode_prediction(body: bytes) -> Prediction:
    """Raises FAILED for anything that is no prediction."""
    return read(body, Prediction)


def failure_of(
    prediction: Prediction, usage: Usage, secrets: Sequence[Secret] = (), *, late: bool = False
) -> BackendError | None:
    """Why a prediction that ended has no result; None when it has one. ``late``: the time that the
    platform was given for it is up, so it is the platform that cancelled it."""
    if prediction.status == "succeeded":
        return _removed(usage) if prediction.data_removed else None
    if prediction.never_began:
        return _never_began(prediction, usage, secrets)
    if prediction.status == "canceled" and late:
        return BackendError(
            FailureClass.TIMEOUT, "The prediction's time at the backend ran out.", usage=usage
        )
    if prediction.status == "canceled":
        return BackendError(
            FailureClass.CANCELLED, "The prediction was cancelled at the backend.", usage=usage
        )
    message = clean(words_in(prediction.error), secrets) or "The prediction failed."
    return BackendError(FailureClass.FAILED, message, usage=usage)


def reply_of(
    prediction: Prediction,
    task: Task,
    usage: Usage,
    secrets: Sequence[Secret] = (),
    *,
    late: bool = False,
) -> Reply:
    """The answer of a prediction that ended. Raises why there is none: see ``failure_of``."""
    error = failure_of(prediction, usage, secrets, late=late)
    if error is not None:
        raise error
    return answer_of(bytes(prediction.output), task, usage, secrets)


def _never_began(prediction: Prediction, usage: Usage, secrets: Sequence[Secret]) -> BackendError:
    """What is said of a failure may be the request's: a single one blames nobody."""
    said = clean(words_in(prediction.error), secrets)
    return BackendError(
        FailureClass.NOT_STARTED,
        f"The prediction was ended before it began{': ' + said if said else '.'}",
        usage=usage,
        fault=Fault.SUSPECT if said and prediction.status == "failed" else None,
    )


def _removed(usage: Usage) -> BackendError:
    return BackendError(
        FailureClass.FAILED, "The backend no longer has the prediction's output.", usage=usage
    )
