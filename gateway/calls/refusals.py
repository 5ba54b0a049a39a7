"""What a caller is told when a call is not served: one clear error each, in the one shape."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from math import ceil, floor

from adapters.errors import BackendError, FailureClass, Fault, Ran
from adapters.shortage import TOO_MANY
from gateway.backends.live import LiveBackend
from gateway.calls.history import FailedAttempt
from gateway.routing.router import Decision
from gateway.storage.base import StorageShortage, StorageUnavailable
from gateway.storage.remote import StorageLost
from gateway.types import ApiError

log = logging.getLogger("spillgate")


class PutOff(Exception):
    """Raised to a job that nobody can serve now: nothing ran, and nothing is settled."""

    def __init__(self, error: ApiError) -> None:
        super().__init__(error.message)
        self.error = error
        """What a caller who cannot wait would be told."""


def refusal_of(
    failure: BackendError, tried: Sequence[FailedAttempt], unaffordable: Sequence[str] = ()
) -> ApiError:
    """What the caller is told when no backend answered: what the provider said of a request that
    may be at fault, and what this gateway makes of it otherwise. ``tried``: each that was asked;
    ``unaffordable``: backends that nothing but a limit of money kept from being asked."""
    if failure.failure is FailureClass.SHORTAGE:
        return overloaded(failure.message)
    headers = {"x-should-retry": "true" if helps(failure, tried) else "false"}
    if failure.retry_after is not None:
        headers["Retry-After"] = str(max(1, ceil(failure.retry_after)))
    status = _status(failure)
    each = ", ".join(f"{one.backend}: {one.slug}" for one in tried)
    detour = f" (tried: {each})" if len(tried) > 1 else ""
    return ApiError(
        status,
        _code(failure, status),
        failure.message + detour + _no_money_for(unaffordable),
        type=_type(failure, status),
        param=failure.param,
        headers=headers,
    )


def _no_money_for(backends: Sequence[str]) -> str:
    """A sentence, after a space."""
    if not backends:
        return ""
    return (
        f" Another backend could have been asked ({', '.join(backends)}), but the budget has no "
        "room for what the call may cost there; GET /usage shows what was spent."
    )


_LASTING = frozenset(
    (FailureClass.CREDENTIAL, FailureClass.FAILED, FailureClass.GONE, FailureClass.QUOTA)
)
"""What no repetition mends; of what failed, where nothing ran, the shape of our own request."""
_OURS = frozenset((FailureClass.CREDENTIAL,))
"""What lies between the gateway and the backend: a client would take it for its own key."""


def helps(failure: BackendError, tried: Sequence[FailedAttempt]) -> bool:
    """Whether to repeat the call may help and cannot be billed twice: nothing ran anywhere, and
    what was in its way may pass."""
    if failure.ran is not Ran.NO or failure.failure in _LASTING:
        return False
    if any(one.ran is not Ran.NO for one in tried):
        return False
    passing = failure.failure is FailureClass.OVERLOADED
    return failure.fault is Fault.BACKEND or (failure.fault is Fault.SUSPECT and passing)


def _status(failure: BackendError) -> int:
    """The provider's own, where the request may be at fault."""
    said, kind = failure.status, failure.failure
    if failure.fault is Fault.BACKEND or kind in _OURS or said is None:
        return kind.status
    named = kind is not FailureClass.GONE or failure.code is not None
    return said if 400 <= said < 500 and named else kind.status


def _code(failure: BackendError, status: int) -> str:
    kind, said = failure.failure, failure.code
    if failure.fault is not Fault.BACKEND and kind not in _OURS and said and not said.isdigit():
        return said
    if status == 429:
        return "rate_limit_exceeded"
    if kind is FailureClass.QUOTA:
        return "insufficient_quota"
    return kind.slug if kind in _REQUESTS else f"backend_{kind.slug}"


_REQUESTS = frozenset(kind for kind in FailureClass if kind.fault is not Fault.BACKEND) - {
    FailureClass.CANCELLED,
    FailureClass.SHORTAGE,
}


def _type(failure: BackendError, status: int) -> str:
    if status == 429:
        return failure.type or "rate_limit_error"
    if failure.failure is FailureClass.QUOTA:
        return "insufficient_quota"
    return "invalid_request_error" if 400 <= status < 499 else "backend_error"


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


def budget_held() -> ApiError:
    """The 429 for a job that cannot begin while others hold what is left of a budget."""
    return ApiError(
        429,
        "budget_held",
        "Calls on their way hold what is left of the budget. The job begins when enough of it has "
        "come back.",
        type="insufficient_quota",
        headers={"Retry-After": "2"},
    )


def budget_unknown() -> ApiError:
    """The 503 for a call whose hold was used up while the shared store did not answer."""
    return ApiError(
        503,
        "store_unavailable",
        "The call was stopped: the store of budgets does not answer, and nothing more could be "
        "held for it.",
        type="server_error",
        headers={"x-should-retry": "false"},
    )


def out_of_time() -> ApiError:
    """The 504 for a call that had its time."""
    return ApiError(
        504,
        "backend_timeout",
        "The call was stopped: it ran longer than its backend or its caller allows.",
        type="backend_error",
        headers={"x-should-retry": "false"},
    )


def no_place() -> ApiError:
    """The 503 for a call that stood in line for as long as it may."""
    return ApiError(
        503,
        "no_backend",
        "No backend had a place for the call for as long as it may wait in line (max_wait).",
        type="backend_error",
        headers={"Retry-After": "5", "x-should-retry": "true"},
    )


def key_ended() -> ApiError:
    """The 401 for a call that lasts longer than the key with which it was begun."""
    return ApiError(
        401,
        "invalid_api_key",
        "The call was stopped: its API key was revoked or rotated, or has expired.",
        type="authentication_error",
        headers={"x-should-retry": "false"},
    )


def stopped(cause: str) -> ApiError | None:
    """What the caller of a call that was stopped is told; None where nobody is left to tell, or
    the server ends."""
    told = {
        "budget": budget_reached,
        "store": budget_unknown,
        "timeout": out_of_time,
        "waited": no_place,
        "key": key_ended,
    }
    return told[cause]() if cause in told else None


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
    """The 503 for a store that fails, of which the operator's log says why; or for what the gateway
    itself lacks to reach it."""
    if isinstance(error, StorageShortage):
        log.warning("too few descriptors to reach a store: %s", error)
        return overloaded(TOO_MANY)
    if not isinstance(error, StorageLost):  # of which the log is told once, not by each call
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
    "lacks_ability": (
        400,
        "unsupported",
        "No backend of the model takes what the call brings or asks for.",
    ),
    "context_too_small": (
        400,
        "context_length_exceeded",
        "The prompt is far longer than any backend of the model takes.",
    ),
    "no_streaming": (400, "unsupported", "No backend of the model can stream; ask without."),
    "over_max_price": (
        400,
        "over_max_price",
        "Every backend that could answer would cost more than the price ceiling of the call.",
    ),
}


_UNKNOWN_WAIT_S = 2.0
"""Where nobody can say when a backend may be asked."""


def no_backend(
    decision: Decision, backends: Mapping[str, LiveBackend], asked_again_in: float | None = None
) -> ApiError:
    """Every candidate was refused: the caller's fault where all agree on it, else ours for now.
    ``asked_again_in``: seconds until the first of them may be asked, where that is known."""
    if not decision.refused:
        return _no_route(decision)
    wait = _UNKNOWN_WAIT_S if asked_again_in is None else asked_again_in
    codes = {code for _, code in decision.refused}
    reasons = ", ".join(f"{name}: {code}" for name, code in decision.refused)
    if len(codes) == 1 and (known := _REFUSALS.get(next(iter(codes)))):
        status, code, message = known
        if code == "too_large":
            reasons = ", ".join(_limit_of(backends[name]) for name, _ in decision.refused)
        return ApiError(status, code, f"{message} ({reasons})")
    if codes <= _STAYS:
        return _lasting(f"No backend can take the call ({reasons}).")
    return ApiError(
        503,
        "no_backend",
        f"No backend can take the call at the moment ({reasons}). Try again shortly.",
        type="backend_error",
        headers={"Retry-After": str(max(1, ceil(wait))), "x-should-retry": "true"},
    )


def _no_route(decision: Decision) -> ApiError:
    """The 403 for a call that nobody is there for, whoever is well: to wait does not help."""
    return ApiError(
        403,
        "no_route",
        f"Your calls of this model take the route {decision.route!r}, which uses no backend of the "
        "model. GET /v1/models lists the models that your key may call; whoever runs this gateway "
        "can change the routes.",
        type="permission_error",
        param="model",
        headers={"x-should-retry": "false"},
    )


def too_late(waits_s: float, left_s: float) -> ApiError:
    """The 503 for a call that would wait for ``waits_s`` seconds, while nobody waits for its answer
    for longer than ``left_s``: it is told now, and when the line should be short enough."""
    return ApiError(
        503,
        "no_backend",
        f"Every backend would answer too late: the shortest wait is some {ceil(waits_s)} s, and "
        f"the call has {max(0, floor(left_s))} s.",
        type="backend_error",
        headers={"Retry-After": str(max(1, ceil(waits_s - left_s))), "x-should-retry": "true"},
    )


_STAYS = _REFUSALS.keys() | {"drained"}
"""What is not over by itself: the call, the policy or an operator must change it."""


def _lasting(message: str) -> ApiError:
    """The 503 that a repetition does not help."""
    return ApiError(
        503,
        "no_backend",
        f"{message} It stays so until whoever runs this gateway changes it.",
        type="backend_error",
        headers={"x-should-retry": "false"},
    )


def _limit_of(backend: LiveBackend) -> str:
    return f"{backend.name}, {backend.spec.kind}: at most {backend.max_request} bytes"
