"""What the exceptions of Modal's SDK mean, before a call was taken and after it.

The SDK has repeated a call of its API three times, under one idempotency key, before it raises
ServiceError or InternalError: nothing is repeated here.

    exception                        before the submit's answer   after it
    ConnectionError, never connected UNREACHABLE                  AMBIGUOUS
    any other loss of the connection AMBIGUOUS                    AMBIGUOUS
    ServiceError, InternalError      AMBIGUOUS                    AMBIGUOUS
    ResourceExhaustedError           OVERLOADED                   asked again, then AMBIGUOUS
    AuthError, PermissionDeniedError CREDENTIAL                   AMBIGUOUS
    NotFoundError, ConflictError     GONE                         AMBIGUOUS
    InvalidError, UnimplementedError UNSUPPORTED                  AMBIGUOUS
    RequestSizeError                 TOO_LARGE
    SerializationError, RecursionError INVALID
    FunctionTimeoutError                                          TIMEOUT
    OutputExpiredError                                            FAILED
    InternalFailure                                               FAILED
    RemoteError, RemoteFailure                                    FAILED
    ExecutionError                   UNREACHABLE (its upload)     FAILED
    DeserializationError                                          FAILED
    ClientClosed                     UNREACHABLE                  AMBIGUOUS

Classes are told by name, so that this file needs no SDK.
"""

from __future__ import annotations

from collections.abc import Sequence

from adapters.errors import BackendError, FailureClass
from adapters.http.failures import clean
from adapters.modal.sdk import RemoteFailure, Uninstalled
from adapters.settings import Secret
from adapters.types import Usage

_UNCONNECTED = "Could not connect"
"""How the SDK begins where no address of the platform took a connection."""
_NOT_UPLOADED = "The call's input could not be uploaded."
_CLOSED = "The backend is closed."
_REFUSED = "The backend refused the gateway's credentials."
_GONE = "The backend does not have this function."
_LOST = "The backend took the call and can no longer be asked about it."

_BEFORE: dict[str, tuple[FailureClass, str]] = {
    "ResourceExhaustedError": (FailureClass.OVERLOADED, "The backend has no room for more calls."),
    "AuthError": (FailureClass.CREDENTIAL, _REFUSED),
    "PermissionDeniedError": (FailureClass.CREDENTIAL, _REFUSED),
    "NotFoundError": (FailureClass.GONE, _GONE),
    "ConflictError": (FailureClass.GONE, _GONE),
    "InvalidError": (FailureClass.UNSUPPORTED, "The backend's function takes no such call."),
    "UnimplementedError": (FailureClass.UNSUPPORTED, "The platform knows no such request."),
    "VersionError": (FailureClass.UNSUPPORTED, "The platform no longer knows this SDK."),
    "RequestSizeError": (FailureClass.TOO_LARGE, "The call is too large for the platform."),
    "RecursionError": (FailureClass.INVALID, "The call's input nests too deeply."),
    "SerializationError": (FailureClass.INVALID, "The call cannot be sent to the platform."),
    "ClientClosed": (FailureClass.UNREACHABLE, _CLOSED),
}
_AFTER: dict[str, tuple[FailureClass, str]] = {
    "FunctionTimeoutError": (FailureClass.TIMEOUT, "The function's own time limit ended it."),
    "OutputExpiredError": (FailureClass.FAILED, "The platform no longer has the call's result."),
    "InternalFailure": (FailureClass.FAILED, "The platform lost the call's container."),
    "DeserializationError": (FailureClass.FAILED, "The function's result is no JSON."),
    "ExecutionError": (FailureClass.FAILED, "The function's result could not be read."),
    "ClientClosed": (
        FailureClass.AMBIGUOUS,
        "The backend was closed before it answered; the call may have run.",
    ),
}


def before_submit(error: Exception, secrets: Sequence[Secret] = ()) -> BackendError:
    """Why a call was not taken, or AMBIGUOUS where nobody knows whether it was."""
    detail = _detail(error, secrets)
    if isinstance(error, Uninstalled):
        return BackendError(
            FailureClass.UNREACHABLE, "The gateway lacks what this backend needs.", detail=detail
        )
    name = type(error).__name__
    if name == "ExecutionError" or type(error).__module__.startswith("aiohttp"):
        # Its words may hold the address of the upload, which is a key to it.
        return BackendError(FailureClass.UNREACHABLE, _NOT_UPLOADED, detail=name)
    if name in _BEFORE:
        kind, message = _BEFORE[name]
        return BackendError(kind, message, retry_after=_delay(error), detail=detail)
    if name == "ConnectionError" and _UNCONNECTED in str(error):
        return BackendError(
            FailureClass.UNREACHABLE, "The backend could not be reached.", detail=detail
        )
    return BackendError(
        FailureClass.AMBIGUOUS, "The backend did not say whether it took the call.", detail=detail
    )


def after_submit(
    error: Exception, usage: Usage | None, secrets: Sequence[Secret] = ()
) -> BackendError:
    """How a call that was taken ended. ``usage`` is what it used, if it ran to an end."""
    name = type(error).__name__
    detail = _detail(error, secrets)
    if isinstance(error, RemoteFailure) or name == "RemoteError":
        said = clean(str(error), secrets) or "The function failed."
        return BackendError(FailureClass.FAILED, said, usage=usage, detail=detail)
    if name == "ResourceExhaustedError":
        return BackendError(FailureClass.OVERLOADED, _LOST, retry_after=_delay(error) or 1.0)
    kind, message = _AFTER.get(name, (FailureClass.AMBIGUOUS, _LOST))
    ended = kind is not FailureClass.AMBIGUOUS
    return BackendError(kind, message, usage=usage if ended else None, detail=detail)


def unreachable(error: Exception, secrets: Sequence[Secret] = ()) -> BackendError:
    """The same for a request that submits nothing: it may be sent again."""
    failure = before_submit(error, secrets)
    if failure.failure is not FailureClass.AMBIGUOUS:
        return failure
    return BackendError(
        FailureClass.UNREACHABLE, "The backend could not be asked.", detail=failure.detail
    )


def _delay(error: Exception) -> float | None:
    """Seconds that the platform wants to be left alone for, where it says so."""
    for detail in getattr(error, "_grpc_details", None) or ():
        seconds = getattr(detail, "retry_after_secs", None)
        if isinstance(seconds, int | float):
            return max(0.0, float(seconds))
    return None


def _detail(error: Exception, secrets: Sequence[Secret]) -> str:
    """For the operator's log: the SDK's own words."""
    return f"{type(error).__name__}: {clean(str(error), secrets)}"
