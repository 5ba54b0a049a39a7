"""What a caller is told when a call is not served: one clear error each, in the one shape."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from adapters.errors import BackendError, FailureClass
from gateway.backends.live import LiveBackend
from gateway.calls.attempt import WORK_DONE
from gateway.routing.router import Decision
from gateway.storage.base import StorageUnavailable
from gateway.storage.history import AttemptRecord
from gateway.types import ApiError

log = logging.getLogger("spillgate")


def refusal_of(failure: BackendError, tried: Sequence[AttemptRecord]) -> ApiError:
    """What the caller is told when no backend answered. ``tried``: each that was asked."""
    kind = failure.failure
    if kind is FailureClass.SHORTAGE:
        return overloaded(failure.message)
    headers = {}
    if failure.retry_after is not None:
        headers["Retry-After"] = str(max(1, round(failure.retry_after)))
    if kind in WORK_DONE:
        # Work was done: a client that repeats the call by itself would pay twice.
        headers["x-should-retry"] = "false"
    invalid = kind in (FailureClass.INVALID, FailureClass.TOO_LARGE, FailureClass.UNSUPPORTED)
    each = ", ".join(f"{attempt.backend}: {attempt.failure}" for attempt in tried)
    detour = f" (tried: {each})" if len(tried) > 1 else ""
    return ApiError(
        kind.status,
        f"backend_{kind.slug}" if not invalid else kind.slug,
        failure.message + detour,
        type="invalid_request_error" if invalid else "backend_error",
        param=failure.param,
        headers=headers,
    )


def overloaded(message: str) -> ApiError:
    """The gateway's own lack, which says nothing of a backend."""
    return ApiError(503, "overloaded", message, type="server_error", headers={"Retry-After": "1"})


def budget_reached() -> ApiError:
    """The 402 for a call whose hold could not grow."""
    return ApiError(
        402,
        "budget_exhausted",
        "The call was stopped: it ran longer than the budget allows. GET /usage shows what was "
        "spent; ask whoever runs this gateway for a larger budget.",
        type="insufficient_quota",
        headers={"x-should-retry": "false"},
    )


def out_of_time() -> ApiError:
    """The 504 for a call that had its time."""
    return ApiError(
        504,
        "backend_timeout",
        "The call was stopped: it ran longer than its backend's max_run allows.",
        type="backend_error",
        headers={"x-should-retry": "false"},
    )


def stopped(cause: str) -> ApiError | None:
    """What the caller of a call that was stopped is told; None where nobody is left to tell, or
    the server ends."""
    return {"budget": budget_reached, "timeout": out_of_time}.get(cause, lambda: None)()


def shutting_down() -> ApiError:
    """The 503 that ends a call when the server ends: what it has used is charged."""
    return ApiError(
        503,
        "shutting_down",
        "The gateway is shutting down; the answer is not complete.",
        type="api_error",
        headers={"x-should-retry": "false"},
    )


def store_unavailable(error: StorageUnavailable) -> ApiError:
    """The 503 for a store that fails, of which the operator's log says why."""
    log.error("store unavailable: %s", error)
    return ApiError(
        503,
        "store_unavailable",
        "The gateway cannot account for calls at the moment, so it takes none. Try again shortly.",
        type="api_error",
        headers={"Retry-After": "1"},
    )


_REFUSALS: dict[str, tuple[int, str, str]] = {
    "too_large": (413, "too_large", "The request is larger than any backend of the model takes."),
    "task_unsupported": (400, "unsupported", "No backend of the model can do this kind of call."),
    "no_streaming": (400, "unsupported", "No backend of the model can stream; ask without."),
    "over_max_price": (
        400,
        "over_max_price",
        "Every backend that could answer would cost more than the price ceiling of the call.",
    ),
}


def no_backend(decision: Decision, backends: Mapping[str, LiveBackend]) -> ApiError:
    """Every candidate was refused: the caller's fault where all agree on it, else ours for now."""
    codes = {code for _, code in decision.refused}
    reasons = ", ".join(f"{name}: {code}" for name, code in decision.refused) or "none is listed"
    if len(codes) == 1 and (known := _REFUSALS.get(next(iter(codes)))):
        status, code, message = known
        if code == "too_large":
            reasons = ", ".join(_limit_of(backends[name]) for name, _ in decision.refused)
        return ApiError(status, code, f"{message} ({reasons})")
    return ApiError(
        503,
        "no_backend",
        f"No backend can take the call at the moment ({reasons}). Try again shortly.",
        type="backend_error",
        headers={"Retry-After": "2"},
    )


def _limit_of(backend: LiveBackend) -> str:
    return f"{backend.name}, {backend.spec.kind}: at most {backend.max_request} bytes"
