"""One HTTP request: who came, what was asked, and whether an answer has begun."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import Any

import msgspec

from adapters.types import ANY_IMAGE, JSON_TYPE, ImageKind, Task
from gateway.api.requests.door import ToldError
from gateway.dialects.faults import as_anthropics, is_anthropics
from gateway.jobs.digests import AsSent
from gateway.money.inputs import TEXT_ALONE, InputParts
from gateway.policy.model import Ability
from gateway.tokens.telling import for_caller
from gateway.types import ApiError, Principal, Role

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Header = tuple[bytes, bytes]

JSON: Header = (b"content-type", b"application/json")


NOBODY = Principal(key_id="", user="")


class RequestContext(msgspec.Struct, kw_only=True, eq=False):
    """Mutable: ``begun`` turns True with the first byte of the answer. ``client`` is the address
    that the connection comes from."""

    request_id: str
    path: str
    headers: dict[bytes, bytes]
    received: float
    received_at: float
    client: str = ""
    principal: Principal = NOBODY
    begun: bool = False
    is_logged: bool = True
    """Should it be refused."""

    def again(self) -> RequestContext:
        """The same request, of which no answer has begun."""
        own = RequestContext(
            request_id=self.request_id,
            path=self.path,
            headers=self.headers,
            received=self.received,
            received_at=self.received_at,
            client=self.client,
        )
        own.principal = self.principal
        return own

    def require(self, roles: Collection[Role]) -> None:
        """Raises ApiError 403 for a key of another role."""
        if self.principal.role not in roles:
            raise ApiError(
                403,
                "admin_required",
                f"This needs an admin key; {_YOURS[self.principal.role]}. `spillgate keys create "
                "--admin` makes one.",
                type="permission_error",
            )

    def key(self) -> str:
        """The text of the key that was sent: as a bearer token, or, as Anthropic's clients do, in
        ``x-api-key``, or, as Azure's do, in ``api-key``; as browsers do that ask for a
        conversation, among the protocols of its WebSocket. Empty where none was. Raises ApiError
        400 for two that differ."""
        headers = self.headers
        scheme, _, key = headers.get(b"authorization", b"").partition(b" ")
        key = key.strip() if scheme.lower() == b"bearer" else b""
        if key and _KEY_HEADERS.isdisjoint(headers):
            return key.decode("latin-1")
        for name in _KEY_HEADERS_IN_TURN:
            given = headers.get(name, b"").strip()
            if name == _PROTOCOLS:
                given = _offered_key(given) if self._wishes_conversation() else b""
            if given and key and given != key:
                raise _two_keys(name)
            key = key or given
        return key.decode("latin-1")

    def _wishes_conversation(self) -> bool:
        wished = self.headers.get(b"upgrade", b"").strip().lower()
        return wished == b"websocket" and self.path == CONVERSATIONS


CONVERSATIONS = "/v1/realtime"
_PROTOCOLS = b"sec-websocket-protocol"
_KEY_HEADERS_IN_TURN = (b"x-api-key", b"api-key", _PROTOCOLS)
_KEY_HEADERS = frozenset(_KEY_HEADERS_IN_TURN)
_OFFERED = b"openai-insecure-api-key."


def _offered_key(protocols: bytes) -> bytes:
    """Of a page, which can give a WebSocket no header. Raises ApiError 400 for two that differ:
    https://platform.openai.com/docs/guides/realtime-websocket."""
    offered = [one.strip() for one in protocols.split(b",")]
    keys = {one.removeprefix(_OFFERED) for one in offered if one.startswith(_OFFERED)}
    if len(keys) > 1:
        raise _two_keys(_PROTOCOLS)
    return next(iter(keys), b"")


def _two_keys(name: bytes) -> ApiError:
    return ApiError(
        400,
        "ambiguous_header",
        f"The request shows one key as Authorization or x-api-key and another one as "
        f"{name.decode()}; send one.",
        param=name.decode(),
    )


_YOURS: dict[Role, str] = {
    "user": "yours is a user's",
    "delegate": "yours is a delegate's, which may list, make, rotate and revoke the keys of its "
    "team, at /admin/keys and below",
    "admin": "yours is one",
}

NO_ABILITIES: frozenset[Ability] = frozenset()


class ParsedRequest(msgspec.Struct, frozen=True):
    """A request for a call that was read and understood."""

    model: str
    task: Task
    body: bytes
    stream: bool
    show_usage: bool
    output_tokens: int
    unbounded: int = 0
    """Answers whose length the body does not bound."""
    parts: InputParts = TEXT_ALONE
    content_type: str = JSON_TYPE
    """Of the body."""
    images: int = 0
    """Images that it asks for; 0 where nobody says."""
    abilities: frozenset[Ability] = NO_ABILITIES
    """What it needs of a backend, beside its task."""
    betas: str = ""
    """Of a message: its header ``anthropic-beta``."""
    declared: tuple[str, str] | None = None
    """Of a route that the policy names: its method, and its path with its query."""
    shown: str = ""
    """What the answer shall call the model, where its caller gave it another name than its own."""
    session: str = ""
    """The conversation that its body names, or begins with."""
    image: ImageKind = ANY_IMAGE
    """What the images shall be that it asks for."""
    sent: AsSent | None = None
    """As its caller sent it, where that gave the model another name than its own."""


async def respond(
    send: Send,
    context: RequestContext,
    status: int,
    body: bytes,
    headers: list[Header] | None = None,
) -> None:
    """A whole answer; the request id is added to its headers."""
    context.begun = True
    all_headers = [
        (b"content-length", str(len(body)).encode()),
        (b"x-request-id", context.request_id.encode()),
        *(headers or (JSON,)),
    ]
    await send({"type": "http.response.start", "status": status, "headers": all_headers})
    await send({"type": "http.response.body", "body": body})


async def respond_json(
    send: Send,
    context: RequestContext,
    value: object,
    status: int = 200,
    headers: list[Header] | None = None,
) -> None:
    """A whole answer: ``value`` as JSON, whose type ``headers`` say where they are given."""
    await respond(send, context, status, msgspec.json.encode(value), headers)


async def respond_error(
    send: Send,
    context: RequestContext,
    error: ApiError,
    headers: list[Header] | None = None,
    told: ToldError | None = None,
) -> None:
    """A whole answer: the error in the one shape that errors have, or as ``told``, with its own
    headers and ``headers``."""
    error = for_caller(error, context.principal)
    own = [(name.lower().encode(), value.encode()) for name, value in error.headers.items()]
    if told is None and is_anthropics(context.path):
        told = ToldError(
            error.status, as_anthropics(error.status, error.body()["error"], context.request_id)
        )
    status, value = (error.status, error.body()) if told is None else told
    body = msgspec.json.encode(value)
    await respond(send, context, status, body, [JSON, *own, *(headers or ())])


def only(method: str, scope: Scope) -> None:
    """Raises ApiError 405 for another method. HEAD is as good as GET: the server leaves out the
    body."""
    asked = scope["method"]
    if asked != method and (asked, method) != ("HEAD", "GET"):
        raise ApiError(
            405,
            "method_not_allowed",
            f"{scope['path']} takes {method}, not {asked}.",
            headers={"Allow": method},
        )
