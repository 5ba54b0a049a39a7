"""How a call can fail, in the words that decide what happens next.

    BackendError          carries a FailureClass; the only exception that leaves an adapter

    FailureClass          try another?  blame the backend?  may be running there?  status
      UNREACHABLE         yes           yes                 no                     502
      OVERLOADED          yes           briefly             no                     503
      LOADING             yes           no                  no                     503
      CREDENTIAL          yes           yes                 no                     502
      GONE                yes           yes                 no                     502
      TOO_LARGE           yes           no                  no                     413
      UNSUPPORTED         yes           no                  no                     400
      INVALID             no            no                  no                     400
      FAILED              no            no                  no                     502
      WORKER_DIED         yes           yes                 no                     502
      TIMEOUT             no            no                  yes                    504
      AMBIGUOUS           no            yes                 yes                    502
      TRUNCATED           no            yes                 no                     502
      CANCELLED           no            no                  no                     499
      SHORTAGE            yes           no                  no                     503

A status code alone decides nothing: an adapter reads its platform's answer and names the class.
"""

from __future__ import annotations

from enum import Enum

from adapters.types import Usage


class FailureClass(Enum):
    """(slug, try another backend, blame this one, may be running there, HTTP status)."""

    UNREACHABLE = ("unreachable", True, True, False, 502)
    """Nothing was sent: refused, no route, TLS or DNS failed."""
    OVERLOADED = ("overloaded", True, True, False, 503)
    """It answered that it has no room now (429, 409 at capacity, queue full)."""
    LOADING = ("loading", True, False, False, 503)
    """It is up and not yet ready (503 while a model loads)."""
    CREDENTIAL = ("credential", True, True, False, 502)
    """Our key for it was refused: the operator's fault, not the caller's."""
    GONE = ("gone", True, True, False, 502)
    """The endpoint or its model does not exist there."""
    TOO_LARGE = ("too_large", True, False, False, 413)
    UNSUPPORTED = ("unsupported", True, False, False, 400)
    """This backend cannot do this kind of call."""
    INVALID = ("invalid", False, False, False, 400)
    """The backend refused the caller's input: another one would too."""
    FAILED = ("failed", False, False, False, 502)
    """The model's code ran and failed; running it again would be charged again."""
    WORKER_DIED = ("worker_died", True, True, False, 502)
    """The worker is gone and with it the call; only where the platform bills no lost call."""
    TIMEOUT = ("timeout", False, False, True, 504)
    AMBIGUOUS = ("ambiguous", False, True, True, 502)
    """The submit may have been taken and its answer was lost: never repeated blindly."""
    TRUNCATED = ("truncated", False, True, False, 502)
    """The answer began and broke off."""
    CANCELLED = ("cancelled", False, False, False, 499)
    SHORTAGE = ("shortage", True, False, False, 503)
    """Nothing was sent: the gateway itself lacks descriptors, memory or space."""

    def __init__(
        self, slug: str, try_next: bool, blames: bool, maybe_running: bool, status: int
    ) -> None:
        self.slug = slug
        self.try_next = try_next
        self.blames = blames
        self.maybe_running = maybe_running
        self.status = status


class BackendError(Exception):
    """A call failed at a backend.

    ``message`` is fit for the caller's eyes: no traceback, no key, no other tenant's data.
    ``retry_after`` is in seconds, where the platform gave one. ``usage`` is what the failed
    attempt used, where the platform said so: it is charged. ``param`` names the field of the
    caller's input at fault, where that is known. ``detail`` is for the operator's log alone.
    """

    def __init__(
        self,
        failure: FailureClass,
        message: str,
        *,
        retry_after: float | None = None,
        usage: Usage | None = None,
        param: str | None = None,
        detail: str = "",
    ) -> None:
        super().__init__(message)
        self.failure = failure
        self.message = message
        self.retry_after = retry_after
        self.usage = usage
        self.param = param
        self.detail = detail

    def reclassed(self, failure: FailureClass, message: str | None = None) -> BackendError:
        """The same refusal, understood otherwise; with a message of ours where one is given."""
        return BackendError(
            failure, message or self.message, retry_after=self.retry_after, detail=self.detail
        )

    def __repr__(self) -> str:
        return f"BackendError({self.failure.name}, {self.message!r})"


def is_closed() -> BackendError:
    """What a backend says of a call that comes after its end."""
    return BackendError(FailureClass.UNREACHABLE, "The backend is closed.")


def was_closed() -> BackendError:
    """What a backend says of a call that was in flight when it was closed."""
    return BackendError(
        FailureClass.AMBIGUOUS, "The backend was closed before it answered; the call may have run."
    )


def takes_no(what: str) -> BackendError:
    """What a backend says of a call that it was not made for, such as "embeddings calls"."""
    return BackendError(FailureClass.UNSUPPORTED, f"This backend takes no {what}.")


def malformed(message: str, *, usage: Usage | None = None, detail: str = "") -> BackendError:
    """An answer that is none: a web page, nothing at all, another shape."""
    return BackendError(FailureClass.FAILED, message, usage=usage, detail=detail)
