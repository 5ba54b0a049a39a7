"""The form that takes a key, and what comes of it."""

from __future__ import annotations

from urllib.parse import urlsplit

from gateway.api.requests.request import RequestContext, Scope
from gateway.console.sign_in.cookies import COOKIE, PREFIX
from gateway.console.sign_in.sessions import LASTS_S, Sessions
from gateway.failed_keys import FailedKey, FailedKeys
from gateway.keys.permitted import check_request
from gateway.storage.key_store import KeyStore
from gateway.types import ApiError, Principal
from local_runtime.http.strangers import IDENTIFY

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_WHY = {
    "unknown": "This key is not known here.",
    "revoked": "This key was revoked.",
    "expired": "This key has expired, or was rotated and works no longer.",
}


class SignIn:
    """Keys in, cookies out."""

    def __init__(self, keys: KeyStore, sessions: Sessions, failed_keys: FailedKeys) -> None:
        self._keys = keys
        self._sessions = sessions
        self._failed_keys = failed_keys

    def begin(self, scope: Scope, key: str) -> bytes:
        """The cookie of a new session. Raises ApiError 400 where the key came unprotected, 401 for
        one that is none, 403 where it is not for the console, 429 after too many."""
        context: RequestContext = scope["context"]
        secure = not _is_plain_loopback(scope)
        principal = self._keys.find(key) if key else None
        if principal is None or principal.token is not None:
            raise self._refusal(context, key)
        if principal.permitted is not None:
            check_request(principal.permitted, PREFIX, context.client)
        _identify(scope)
        return _cookie(self._sessions.begin(key), secure, round(LASTS_S))

    def begin_as(self, scope: Scope, who: Principal, *, secure: bool) -> bytes:
        """The same of somebody whom a provider has named."""
        _identify(scope)
        return _cookie(self._sessions.begin_as(who), secure, round(LASTS_S))

    def end(self, name: str) -> bytes:
        """The cookie that takes the session's place: none."""
        self._sessions.end(name)
        return _cookie("", False, 0)

    def refused(self, context: RequestContext, why: FailedKey, error: ApiError) -> ApiError:
        """The error, or another one where too many came from the address. It is counted."""
        wait_s = self._failed_keys.refuse(context.client, why)
        context.is_logged = self._failed_keys.logs()
        if wait_s is None:
            return error
        words = f"Too many keys that are none came from this address. Wait {wait_s} s."
        return ApiError(429, "too_many_failed_keys", words, headers={"Retry-After": str(wait_s)})

    def _refusal(self, context: RequestContext, key: str) -> ApiError:
        why: FailedKey = self._keys.why_not(key) if key else "missing"
        words = _WHY.get(why, "Enter a key: it begins with sg-.")
        error = ApiError(401, "invalid_api_key", words, type="authentication_error")
        return self.refused(context, why, error)


def _identify(scope: Scope) -> None:
    identify = scope.get(IDENTIFY)
    if identify is not None:
        identify()


def _cookie(name: str, secure: bool, lasts_s: int) -> bytes:
    text = f"{COOKIE}={name}; Path={PREFIX}; Max-Age={lasts_s}; HttpOnly; SameSite=Lax"
    return (text + ("; Secure" if secure else "")).encode()


def _is_plain_loopback(scope: Scope) -> bool:
    """Whether the browser speaks plain HTTP to its own machine: by the origin that it names, else
    by its connection and the host that it asked for. Raises ApiError 400 where it does so to
    another: what it sent has been read by whoever could."""
    headers = scope["context"].headers
    origin = headers.get(b"origin", b"").decode("latin-1")
    if origin in ("", "null"):
        # A proxy in front would speak plain HTTP to us as well, but keeps the public name.
        host = headers.get(b"host", b"").decode("latin-1")
        return scope["scheme"] == "http" and _is_loopback(f"//{host}")
    if not origin.startswith("http://"):
        return False
    if _is_loopback(origin):
        return True
    raise ApiError(
        400,
        "invalid_header",
        "Open the console by https: a key must not cross the network unprotected. "
        "Have this one rotated.",
    )


def _is_loopback(address: str) -> bool:
    try:
        return urlsplit(address).hostname in _LOOPBACK
    except ValueError:
        return False


def check_same_site(context: RequestContext) -> None:
    """Raises ApiError 403 for a form that another site has sent. Browsers say where a request
    comes from (Fetch Metadata), older ones by Origin alone."""
    site = context.headers.get(b"sec-fetch-site")
    if site is not None:
        is_ours = site in (b"same-origin", b"none")
    else:
        origin = context.headers.get(b"origin")
        host = context.headers.get(b"host", b"").decode("latin-1")
        is_ours = origin is None or urlsplit(origin.decode("latin-1")).netloc == host
    if not is_ours:
        raise ApiError(
            403,
            "forbidden",
            "This form came from another site. Open the console itself and try again.",
            type="permission_error",
        )
