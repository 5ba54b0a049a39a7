"""Before every route: a request id, the size of the headers, the key. Pure ASGI middleware.

It stands around the routes, so that every error of one, expected or not, leaves by it in the one
shape.
"""

from __future__ import annotations

import logging
import os
import random
from collections.abc import Callable, Collection, Mapping
from functools import partial
from itertools import chain
from types import MappingProxyType
from typing import Protocol

from starlette.types import ASGIApp

from gateway.api.requests.bodies import ClientGone
from gateway.api.requests.door import Door, door_of
from gateway.api.requests.paths import canonical
from gateway.api.requests.request import Receive, RequestContext, Scope, Send, respond_error
from gateway.api.requests.tags import HEADER as TAG
from gateway.calls.refusals import store_unavailable
from gateway.clock import Clock
from gateway.failed_keys import FailedKey, FailedKeys
from gateway.files.names import LINKED
from gateway.keys.permitted import check_request
from gateway.log_lines import REQUEST_ID
from gateway.storage.base import StorageBusy, StorageUnavailable
from gateway.storage.key_store import KeyStore
from gateway.storage.outage.writers import Writers
from gateway.tokens.using import check_token
from gateway.types import ApiError, Principal
from local_runtime.http.strangers import IDENTIFY

log = logging.getLogger("spillgate")

CONSOLE = "/dashboard"
PUBLIC = frozenset(
    (
        *("/", "/healthz", "/readyz", "/metrics", "/openapi.json", "/docs", LINKED),
        *(f"{CONSOLE}/{name}" for name in ("sign-in", "console.css", "console.js", "htmx.js")),
        *(f"{CONSOLE}/sign-in/oidc", f"{CONSOLE}/sign-in/oidc/back"),
    )
)
"""Paths that need no key: they tell nothing of any caller, or take a token instead."""

_ONCE = (
    b"authorization",
    b"x-api-key",
    b"api-key",
    b"content-encoding",
    b"x-spillgate-priority",
    b"x-spillgate-max-price",
)
"""Headers by which the gateway decides."""

_NO_KEY = ("missing", "malformed")
_FAILED: dict[FailedKey, str] = {
    "missing": "No API key was sent. Send it as `Authorization: Bearer sg-...`.",
    "malformed": "The Authorization header holds no API key. Send `Authorization: Bearer sg-...`.",
    "unknown": "The API key is not known here. Send `Authorization: Bearer sg-...`; "
    "`spillgate keys create` makes a key.",
    "revoked": "The API key was revoked. `spillgate keys create` makes another one.",
    "expired": "The API key has expired, or was rotated and works no longer: send the one that "
    "took its place. `spillgate keys create` makes another one.",
}

_OFFERED = (
    " A page, which can give a WebSocket no header, offers the protocols `realtime` and "
    "`openai-insecure-api-key.KEY`."
)

_NOWHERE = ("",)


class Console(Protocol):
    """Pages for people, below ``CONSOLE``: whoever comes there without a key has a session."""

    def principal(self, context: RequestContext) -> Principal:
        """Whose session it is. Raises ApiError 401 where there is none."""
        ...

    def answers(self, context: RequestContext, error: ApiError) -> bool:
        """Whether an error is told as a page."""
        ...

    async def tell(self, scope: Scope, send: Send, error: ApiError) -> None:
        """Answers with that page."""
        ...


class AuthMiddleware:
    """Stands before the application that ``leads_to`` names. ``refused`` is told of each request
    that ends in an error of ours, and ``uses`` when each key came last; ``public`` are the paths
    that need no key."""

    def __init__(
        self,
        *,
        keys: KeyStore,
        clock: Clock,
        failed_keys: FailedKeys,
        uses: dict[str, float],
        max_header: int,
        public: Collection[str] = PUBLIC,
        refused: Callable[[RequestContext, ApiError], None],
        console: Console,
        doors: Mapping[str, Door] = MappingProxyType({}),
    ) -> None:
        """``doors``: the first part of a path -> what is different below it."""
        self._console = console
        self._app: ASGIApp
        self._exact: Mapping[str, ASGIApp]
        self._keys = keys
        self._clock = clock
        self._failed_keys = failed_keys
        self._uses = uses
        self._writers = Writers()
        self._max_header = max_header
        self._public = public
        self._refused = refused
        self._doors = doors
        self._ids = random.Random(os.urandom(16))

    def leads_to(self, app: ASGIApp, exact: Mapping[str, ASGIApp]) -> None:
        """``exact`` are the paths without parameters, each with its endpoint; ``app`` the rest."""
        self._app = app
        self._exact = exact

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        raw = scope["headers"]
        if scope["path"] not in self._exact:
            scope["path"] = canonical(scope["path"])
        received_at = self._clock.time()
        context = RequestContext(
            request_id=self._request_id(received_at),
            path=scope["path"],
            headers=dict(raw),
            received=self._clock.monotonic(),
            received_at=received_at,
            client=(scope.get("client") or _NOWHERE)[0],
        )
        scope["context"] = context
        REQUEST_ID.set(context.request_id)
        try:
            self._check_headers(raw, context.headers)
            if context.path not in self._public:
                try:
                    principal = context.principal = self._principal(context)
                except StorageBusy:
                    principal = context.principal = await self._after_writer(context)
                self._uses[principal.key_id] = received_at
                if principal.permitted is not None:
                    check_request(principal.permitted, context.path, context.client)
                    if principal.token is not None:
                        check = partial(check_token, principal.token, self._keys, context.headers)
                        await self._writers.after(check)
                identify = scope.get(IDENTIFY)
                if identify is not None:
                    identify()
            await (self._exact.get(context.path) or self._app)(scope, receive, send)
        except ApiError as error:
            if context.begun:
                raise
            await self._tell(scope, send, error)
        except StorageUnavailable as unavailable:
            if context.begun:
                raise
            await self._tell(scope, send, store_unavailable(unavailable))
        except ClientGone:
            return
        except Exception:
            # The traceback is for the operator's log; the caller learns the id to quote.
            log.exception("request %s failed", context.request_id)
            if context.begun:
                raise
            await self._tell(scope, send, _internal(context))

    async def _tell(self, scope: Scope, send: Send, error: ApiError) -> None:
        context: RequestContext = scope["context"]
        if context.is_logged:
            self._refused(context, error)
        if self._console.answers(context, error):
            await self._console.tell(scope, send, error)
            return
        door = door_of(self._doors, context.path)
        await respond_error(send, context, error, told=door and door.told(error))

    def _request_id(self, received_at: float) -> str:
        """Milliseconds, then 48 random bits: ids that ascend are stored side by side, and the
        ledger's index takes a batch of them in one page instead of one page each."""
        number = int(received_at * 1000) << 48 | self._ids.getrandbits(48)
        return "req_" + number.to_bytes(12, "big").hex()

    def _check_headers(self, raw: list[tuple[bytes, bytes]], by_name: dict[bytes, bytes]) -> None:
        size = sum(map(len, chain.from_iterable(raw)))
        if size > self._max_header:
            raise ApiError(
                431,
                "headers_too_large",
                f"The request's headers are larger than {self._max_header} bytes.",
            )
        if len(by_name) != len(raw):
            _check_once(raw)
            _join_tags(raw, by_name)

    def _principal(self, context: RequestContext) -> Principal:
        text = context.key()
        if not text and (door := door_of(self._doors, context.path)) is not None:
            text = door.key(context.headers)
        if not text:
            if context.path.startswith(CONSOLE):
                return self._console.principal(context)
            given = context.headers.get(b"authorization")
            raise self._unauthorised(context, "malformed" if given else "missing")
        try:
            principal = self._keys.find(text)
        except StorageBusy:
            raise
        except StorageUnavailable:
            context.is_logged = self._failed_keys.logs()
            raise
        if principal is None:
            raise self._unauthorised(context, self._keys.why_not(text))
        return principal

    async def _after_writer(self, context: RequestContext) -> Principal:
        """The same when another has written to the keys: perhaps this very one."""
        try:
            return await self._writers.after(partial(self._principal, context))
        except StorageUnavailable:
            context.is_logged = self._failed_keys.logs()
            raise

    def _unauthorised(self, context: RequestContext, why: FailedKey) -> ApiError:
        """The 401, or the 429 of an address that sends too many."""
        wait_s = self._failed_keys.refuse(context.client, why)
        context.is_logged = self._failed_keys.logs()
        if wait_s is not None:
            return ApiError(
                429,
                "too_many_failed_keys",
                "Too many requests without a good API key came from this address.",
                type="rate_limit_error",
                headers={"Retry-After": str(wait_s)},
            )
        code = "missing_api_key" if why in _NO_KEY else "invalid_api_key"
        return ApiError(
            401,
            code,
            _FAILED[why] + (_OFFERED if why in _NO_KEY and _wants_websocket(context) else ""),
            type="authentication_error",
            headers={"WWW-Authenticate": "Bearer"},
        )


def _wants_websocket(context: RequestContext) -> bool:
    return context.headers.get(b"upgrade", b"").strip().lower() == b"websocket"


def _check_once(raw: list[tuple[bytes, bytes]]) -> None:
    """Of two keys, or two ceilings, nobody can say which was meant."""
    names = [name for name, _ in raw]
    for name in _ONCE:
        if names.count(name) > 1:
            raise ApiError(
                400,
                "ambiguous_header",
                f"The request has the header {name.decode()} more than once; send it once.",
                param=name.decode(),
            )


def _join_tags(raw: list[tuple[bytes, bytes]], by_name: dict[bytes, bytes]) -> None:
    """A header that is a list may stand in several lines (RFC 9110, 5.3)."""
    if TAG in by_name:
        by_name[TAG] = b", ".join([value for name, value in raw if name == TAG])


def _internal(context: RequestContext) -> ApiError:
    return ApiError(
        500,
        "internal_error",
        f"Something failed inside the gateway. Its log tells more under {context.request_id}.",
        type="api_error",
        headers={"x-should-retry": "false"},
    )
