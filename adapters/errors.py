"""How a call can fail, in the words that decide what happens next.

    BackendError          carries a FailureClass; the only exception that leaves an adapter

    FailureClass          whose fault?  has it run?  may be running there?  status
      UNREACHABLE         BACKEND       NO           no                     502
      OVERLOADED          BACKEND       NO           no                     503
      LOADING             BACKEND       NO           no                     503
      NOT_STARTED         BACKEND       NO           yes                    503
      CREDENTIAL          BACKEND       NO           no                     502
      QUOTA               SUSPECT       NO           no                     402
      GONE                BACKEND       NO           no                     502
      TOO_LARGE           HERE          NO           no                     413
      CONTEXT_TOO_LONG    HERE          NO           no                     400
      UNSUPPORTED         HERE          NO           no                     400
      INVALID             REQUEST       NO           no                     400
      FLAGGED             REQUEST       NO           no                     400
      FAILED              BACKEND       MAYBE        no                     502
      MALFORMED           BACKEND       MAYBE        no                     502
      WORKER_DIED         BACKEND       NO           no                     502
      TIMEOUT             BACKEND       MAYBE        yes                    504
      AMBIGUOUS           BACKEND       MAYBE        yes                    502
      TRUNCATED           BACKEND       YES          no                     502
      CANCELLED           BACKEND       YES          no                     502
      SHORTAGE            HERE          NO           no                     503

A status code alone decides nothing: an adapter reads its platform's answer and names the class,
and says of the one failure what it knows better than its class: whose fault it was, whether it
ran. Whether another backend is asked, who rests and what is charged follows from these in
``gateway/routing``; no class has an answer of its own to any of that.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from enum import Enum

from adapters.types import Probe, Usage


class Fault(Enum):
    """Whose a failure is."""

    REQUEST = "request"
    """This request's: any backend would refuse it."""
    HERE = "here"
    """This request's at this backend: another one may take it."""
    SUSPECT = "suspect"
    """This request's or the backend's, and nobody knows which: a single one blames neither."""
    BACKEND = "backend"


class Ran(Enum):
    """Whether a call that failed has run at the backend, and so may have been billed."""

    NO = "no"
    MAYBE = "maybe"
    YES = "yes"


class FailureClass(Enum):
    """(slug, whose fault, has it run, may be running there, HTTP status)."""

    UNREACHABLE = ("unreachable", Fault.BACKEND, Ran.NO, False, 502)
    """Nothing was sent: refused, no route, TLS or DNS failed."""
    OVERLOADED = ("overloaded", Fault.BACKEND, Ran.NO, False, 503)
    """It answered that it has no room now (429, 409 at capacity, 529, queue full)."""
    LOADING = ("loading", Fault.BACKEND, Ran.NO, False, 503)
    """It is up and not yet ready (503 while a model loads)."""
    NOT_STARTED = ("not_started", Fault.BACKEND, Ran.NO, True, 503)
    """The platform took the call, and it ended or was given up before it began."""
    CREDENTIAL = ("credential", Fault.BACKEND, Ran.NO, False, 502)
    """Our key for it was refused: the operator's fault, not the caller's."""
    QUOTA = ("quota", Fault.SUSPECT, Ran.NO, False, 402)
    """It wants money: the account has none left, or not enough for this request."""
    GONE = ("gone", Fault.BACKEND, Ran.NO, False, 502)
    """The endpoint or its model does not exist there."""
    TOO_LARGE = ("too_large", Fault.HERE, Ran.NO, False, 413)
    CONTEXT_TOO_LONG = ("context_length_exceeded", Fault.HERE, Ran.NO, False, 400)
    """More tokens than the model takes there."""
    UNSUPPORTED = ("unsupported", Fault.HERE, Ran.NO, False, 400)
    """This backend cannot do this kind of call."""
    INVALID = ("invalid", Fault.REQUEST, Ran.NO, False, 400)
    """The backend refused the caller's input: another one would too."""
    FLAGGED = ("content_policy_violation", Fault.REQUEST, Ran.NO, False, 400)
    """What the caller wrote is against the provider's rules."""
    FAILED = ("failed", Fault.BACKEND, Ran.MAYBE, False, 502)
    """The model's code ran and failed, or the server did: nobody knows how far it came."""
    MALFORMED = ("malformed", Fault.BACKEND, Ran.MAYBE, False, 502)
    """It answered, and the answer is none: a web page, nothing at all, another shape."""
    WORKER_DIED = ("worker_died", Fault.BACKEND, Ran.NO, False, 502)
    """The worker is gone and with it the call; only where the platform bills no lost call."""
    TIMEOUT = ("timeout", Fault.BACKEND, Ran.MAYBE, True, 504)
    AMBIGUOUS = ("ambiguous", Fault.BACKEND, Ran.MAYBE, True, 502)
    """The submit may have been taken and its answer was lost."""
    TRUNCATED = ("truncated", Fault.BACKEND, Ran.YES, False, 502)
    """The answer began and broke off."""
    CANCELLED = ("cancelled", Fault.BACKEND, Ran.YES, False, 502)
    """Somebody ended it at the platform while it ran. A caller who ends his own call is told
    nothing of it."""
    SHORTAGE = ("shortage", Fault.HERE, Ran.NO, False, 503)
    """Nothing was sent: the gateway itself lacks descriptors, memory or space."""

    def __init__(self, slug: str, fault: Fault, ran: Ran, maybe_running: bool, status: int) -> None:
        self.slug = slug
        self.fault = fault
        self.ran = ran
        self.maybe_running = maybe_running
        self.status = status


class BackendError(Exception):
    """A call failed at a backend.

    ``message`` is fit for the caller's eyes: no traceback, no key, no other tenant's data.
    ``retry_after`` is in seconds, where the platform gave one. ``usage`` is what the failed
    attempt used, where the platform said so: it is charged. ``detail`` is for the operator's log
    alone. ``fault`` and ``ran`` are the class's, unless the platform said better. What the provider
    said is kept beside it, where it said it: ``status`` of HTTP, ``code``, ``type`` and ``param``
    (the field of the caller's input at fault) of its error object. ``reused``: the connection had
    been kept since an earlier call and died before a byte of an answer came.
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
        fault: Fault | None = None,
        ran: Ran | None = None,
        status: int | None = None,
        code: str | None = None,
        type: str | None = None,
        reused: bool = False,
    ) -> None:
        super().__init__(message)
        self.failure = failure
        self.message = message
        self.retry_after = retry_after
        self.usage = usage
        self.param = param
        self.detail = detail
        self.fault = fault or failure.fault
        self.ran = ran or failure.ran
        self.status = status
        self.code = code
        self.type = type
        self.reused = reused

    @property
    def told(self) -> str:
        """Its message and its detail for an operator, without what both say. Of a traceback the
        last line: all of it is in the log of the worker."""
        detail = self.detail.strip()
        if "Traceback (most recent call last)" in detail:
            detail = detail.rpartition("\n")[2]
        if not detail or detail in self.message:
            return self.message
        return detail if self.message in detail else f"{self.message} ({detail})"

    def as_probe(self) -> Probe:
        """What a backend is taken for that failed so when it was asked how it is."""
        return Probe(ready=False, detail=self.message, why=self.told)

    def reclassed(self, failure: FailureClass, message: str | None = None) -> BackendError:
        """The same refusal, understood otherwise; with a message of ours where one is given."""
        return BackendError(
            failure,
            message or self.message,
            retry_after=self.retry_after,
            param=self.param,
            detail=self.detail,
            status=self.status,
            code=self.code,
            type=self.type,
        )

    def reworded(self, fit: Callable[[str], str], usage: Usage | None = None) -> BackendError:
        """The same failure, all its words as ``fit`` makes them, those for the log too; ``usage``
        is what is known now."""
        said = (self.code, self.type, self.param)
        code, type, param = (None if words is None else fit(words) for words in said)
        return BackendError(
            self.failure,
            fit(self.message),
            retry_after=self.retry_after,
            usage=usage or self.usage,
            param=param,
            detail=fit(self.detail),
            fault=self.fault,
            ran=self.ran,
            status=self.status,
            code=code,
            type=type,
            reused=self.reused,
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


def unreachable(host: str, port: int, why: str) -> BackendError:
    """Nobody is there. Where that is, is for the operator alone: it is nobody else's network."""
    return BackendError(
        FailureClass.UNREACHABLE,
        "The backend could not be reached.",
        detail=f"{host}:{port}: {why}",
    )


def said_of(error: Exception) -> str:
    """Why no connection was made, in the system's words where it has some."""
    if not isinstance(error, OSError) or not error.strerror:
        return f"{type(error).__name__}: {error}"
    if error.errno and error.strerror.startswith("Connect call failed"):
        return os.strerror(error.errno)  # asyncio's words are the address once more
    return error.strerror


def malformed(message: str, *, usage: Usage | None = None, detail: str = "") -> BackendError:
    """An answer that is none: a web page, nothing at all, another shape."""
    return BackendError(FailureClass.MALFORMED, message, usage=usage, detail=detail)
