"""Leads each path of the console to its page, and writes what that gives: HTML, CSV, or the way on.

Pages are written in a thread: a large one must not keep calls waiting.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import jinja2
import msgspec

from gateway.api.requests.bodies import read_body
from gateway.api.requests.request import Header, Receive, RequestContext, Scope, Send, respond
from gateway.console.drawing import figures, words
from gateway.console.pages import backends, bill, calls, incidents, jobs, keys, now, policy, spend
from gateway.console.sign_in.cookies import PREFIX, SIGN_IN, cookie_of, lead, session_of
from gateway.console.sign_in.sessions import Sessions, form_token
from gateway.console.sign_in.with_key import SignIn, check_same_site
from gateway.console.visits import shown_tables
from gateway.console.visits.visit import Given, HtmlPage, Onward, Sheet, Visit, link, told_instant
from gateway.failed_keys import FailedKeys
from gateway.money.usage_reports import refusal_of
from gateway.service import Gateway
from gateway.storage.base import ReportRefused
from gateway.storage.calendar import zone_of
from gateway.storage.outage.writers import Writers
from gateway.types import ApiError, Role

if TYPE_CHECKING:
    from gateway.console.sign_in.oidc import OidcSignIn

Show = Callable[[Visit], Awaitable[Given]]
_EVERYBODY: frozenset[Role] = frozenset(("user", "delegate", "admin"))
_ADMINS: frozenset[Role] = frozenset(("admin",))
_FOLDER = Path(__file__).parent
_STATIC = {"css": b"text/css; charset=utf-8", "js": b"text/javascript; charset=utf-8"}
_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
_ZONE = "spillgate_zone"
_HEADERS = [
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
]
_HTML = [*_HEADERS, (b"content-type", b"text/html; charset=utf-8"), (b"cache-control", b"no-store")]


class ConsolePage(msgspec.Struct, frozen=True):
    """A page of the console: what it shows, as CSV too, and what may be done on it."""

    title: str
    show: Show
    sheet: Show | None = None
    acts: dict[str, Show] = {}
    roles: frozenset[Role] = _EVERYBODY


ROOMS: dict[str, ConsolePage] = {
    "": ConsolePage("Now", now.show, now.sheet),
    "spend": ConsolePage("Spend", spend.show, spend.sheet),
    "backends": ConsolePage(
        "Backends",
        backends.show,
        backends.sheet,
        {
            "drain": backends.drain,
            "enable": backends.enable,
            "ask": backends.ask,
            "ping": backends.ping,
        },
        _ADMINS,
    ),
    "calls": ConsolePage("Calls", calls.show, calls.sheet),
    "keys": ConsolePage(
        "Keys",
        keys.show,
        keys.sheet,
        {"create": keys.create, "rotate": keys.rotate, "revoke": keys.revoke},
    ),
    "policy": ConsolePage(
        "Policy",
        policy.show,
        policy.sheet,
        {
            "check": policy.check,
            "replay": policy.replay,
            "apply": policy.apply,
            "rollback": policy.roll_back,
            "limit": policy.set_limit,
        },
        _ADMINS,
    ),
    "jobs": ConsolePage(
        "Jobs",
        jobs.show,
        jobs.sheet,
        {"cancel": jobs.cancel, "test": jobs.test, "enable": jobs.enable},
    ),
    "incidents": ConsolePage("Incidents", incidents.show, incidents.sheet, roles=_ADMINS),
    "bill": ConsolePage(
        "Bill",
        bill.show,
        bill.sheet,
        {"ask": bill.ask, "put": bill.put, "book": bill.book},
        _ADMINS,
    ),
}
"""The first word of a path -> its page, in the order of the navigation."""


class Desk:
    """Made with the first page."""

    def __init__(
        self,
        gateway: Gateway,
        sessions: Sessions,
        failed_keys: FailedKeys,
    ) -> None:
        self._gateway = gateway
        self._writers = Writers()
        self._sign_in = SignIn(gateway.keys, sessions, failed_keys)
        self._oidc = oidc_of(gateway)
        self._static = {
            path.name: path.read_bytes()
            for path in sorted((_FOLDER / "static").iterdir())
            if path.suffix[1:] in _STATIC
        }
        self._stamp = hashlib.sha256(b"".join(self._static.values())).hexdigest()[:12]
        self._pages = _environment(self._stamp)

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises ApiError for what is not there, or not for this key."""
        context: RequestContext = scope["context"]
        path = scope["path"].removeprefix(PREFIX).strip("/")
        if scope["method"] not in ("GET", "HEAD", "POST"):
            raise ApiError(
                405, "method_not_allowed", "Pages take GET and POST.", headers={"Allow": "GET"}
            )
        if path in self._static:
            await self._respond_static(context, send, path)
        elif path == "sign-in":
            await self._respond_sign_in(scope, receive, send)
        elif path in ("sign-in/oidc", "sign-in/oidc/back"):
            await self._by_provider(scope, path, send)
        elif scope["method"] == "POST":
            await self._act(scope, path, receive, send)
        else:
            await self._show(scope, path, send)

    async def tell(self, scope: Scope, send: Send, error: ApiError) -> None:
        """An error as a page."""
        body = await asyncio.to_thread(self._error_page, scope, error)
        await respond(send, scope["context"], error.status, body, [*_HTML, *_own_headers(error)])

    # --- pages ---

    async def _show(self, scope: Scope, path: str, send: Send) -> None:
        name, _, rest = path.partition("/")
        wants_sheet = name.endswith(".csv")
        name = name.removesuffix(".csv") if wants_sheet else name
        room = self._room(scope, "" if wants_sheet and name == "now" else name)
        show = room.sheet if wants_sheet else room.show
        if show is None:
            raise _nothing_there()
        visit = self._visit(scope, name if name != "now" else "", rest)
        await self._respond(visit, send, await _given(show, visit))

    async def _act(self, scope: Scope, path: str, receive: Receive, send: Send) -> None:
        context: RequestContext = scope["context"]
        form = await self._form(scope, receive)
        session = session_of(context)
        shown = form.pop("token", "").encode(errors="replace")
        if not context.key() and not secrets.compare_digest(shown, form_token(session).encode()):
            words = (
                "This form does not belong to your session. Go back, reload the page and try again."
            )
            raise ApiError(403, "forbidden", words, type="permission_error")
        if path == "sign-out":
            await lead(send, context, SIGN_IN, (self._sign_in.end(session),))
            return
        name, _, act = path.rpartition("/")
        room = self._room(scope, name)
        done = room.acts.get(act)
        if done is None:
            raise _nothing_there()
        visit = self._visit(scope, name, "", form)
        await self._respond(visit, send, await _given(done, visit))

    def _room(self, scope: Scope, name: str) -> ConsolePage:
        context: RequestContext = scope["context"]
        room = ROOMS.get(name)
        if room is None:
            raise _nothing_there()
        context.require(room.roles)
        return room

    def _visit(
        self, scope: Scope, page: str, rest: str = "", form: dict[str, str] | None = None
    ) -> Visit:
        query = scope["query_string"].decode("latin-1")
        return Visit(
            gateway=self._gateway,
            scope=scope,
            page=page,
            rest=rest,
            params={name: value for name, value in parse_qsl(query) if value},
            form=form or {},
            zone=_zone(scope["context"]),
        )

    async def _respond(self, visit: Visit, send: Send, given: Given) -> None:
        if isinstance(given, HtmlPage) and shown_tables.PARAMETER in visit.params:
            given = await asyncio.to_thread(self._table, visit, given)
        if isinstance(given, Onward):
            await lead(send, visit.context, given.to)
        elif isinstance(given, Sheet):
            await _respond_sheet(visit.context, send, given)
        else:
            body = await asyncio.to_thread(self._written, visit, given)
            await respond(send, visit.context, given.status, body, _HTML)

    def _table(self, visit: Visit, page: HtmlPage) -> Sheet:
        text = self._written(visit, page).decode()
        found = shown_tables.shown(text, visit.params[shown_tables.PARAMETER])
        if found is None:
            raise _nothing_there()
        return found

    def _written(self, visit: Visit, page: HtmlPage) -> bytes:
        values = {**_around(visit), "visit": visit, "zone": visit.tzinfo, **page.values}
        return self._pages.get_template(page.template).render(values).encode()

    def _error_page(self, scope: Scope, error: ApiError) -> bytes:
        around: dict[str, Any] = {"nav": []}
        if scope["context"].principal.key_id:
            around = _around(self._visit(scope, "?"))
        return self._pages.get_template("error.html").render({**around, "error": error}).encode()

    # --- signing in ---

    async def _respond_sign_in(self, scope: Scope, receive: Receive, send: Send) -> None:
        context: RequestContext = scope["context"]
        params = dict(parse_qsl(scope["query_string"].decode("latin-1")))
        problem: ApiError | None = None
        if scope["method"] == "POST":
            form = await self._form(scope, receive)
            params = {"next": form.get("next", "")}
            try:
                key = form.get("key", "").strip()
                cookie = await self._writers.after(partial(self._sign_in.begin, scope, key))
                await lead(send, context, _own(params["next"]), (cookie,))
                return
            except ApiError as error:
                problem = error
        values: dict[str, Any] = {
            "nav": [],
            "problem": problem,
            "oidc": self._gateway.active.policy.server.console.oidc,
            "next": _own(params.get("next", "")),
        }
        page = self._pages.get_template("sign-in.html")
        body = await asyncio.to_thread(page.render, values)
        status = problem.status if problem else 200
        headers = [*_HTML, *(_own_headers(problem) if problem else ())]
        await respond(send, context, status, body.encode(), headers)

    async def _by_provider(self, scope: Scope, path: str, send: Send) -> None:
        """The way to the OpenID provider, and the way back."""
        context: RequestContext = scope["context"]
        if self._oidc is None or scope["method"] == "POST":
            raise _nothing_there()
        params = dict(parse_qsl(scope["query_string"].decode("latin-1")))
        if not path.endswith("/back"):
            there, kept = await self._oidc.begin(_own(params.get("next", "")))
            await lead(send, context, there, (kept,))
            return
        try:
            who, page = await self._oidc.end(params, cookie_of(context, self._oidc.cookie))
        except ApiError as error:
            raise self._sign_in.refused(context, "unknown", error) from None
        session = self._sign_in.begin_as(scope, who, secure=self._oidc.is_secure)
        await lead(send, context, _own(page), (session, self._oidc.forgotten()))

    async def _form(self, scope: Scope, receive: Receive) -> dict[str, str]:
        context: RequestContext = scope["context"]
        check_same_site(context)
        body = await read_body(self._gateway, context, receive)
        try:
            return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=200))
        except ValueError:
            raise ApiError(400, "invalid_body", "The form cannot be read.") from None

    async def _respond_static(self, context: RequestContext, send: Send, name: str) -> None:
        kind = _STATIC[name.rpartition(".")[2]]
        kept = (b"cache-control", b"public, max-age=31536000, immutable")
        headers = [*_HEADERS, (b"content-type", kind), kept]
        await respond(send, context, 200, self._static[name], headers)


def oidc_of(gateway: Gateway) -> OidcSignIn | None:
    """None where the policy names no OpenID provider."""
    settings = gateway.active.policy.server.console.oidc
    if settings is None:
        return None
    # Imported here because most gateways need neither its client nor its signatures.
    from gateway.console.sign_in.oidc import OidcSignIn

    return OidcSignIn(settings, gateway.clock)


def _environment(stamp: str) -> jinja2.Environment:
    pages = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    shown = ("count", "counted", "money", "dollars", "duration", "micros", "hours", "share",
             "change", "amount", "when", "utc_day")  # fmt: skip
    pages.globals |= {name: getattr(figures, name) for name in shown}
    pages.filters |= {"whose": words.whose, "ago": told_instant}
    pages.globals |= {"link": link, "prefix": PREFIX, "stamp": stamp}
    return pages


def _around(visit: Visit) -> dict[str, Any]:
    """What stands on every page."""
    who = visit.who
    return {
        "nav": [
            (room.title, link(name, {}), name == visit.page)
            for name, room in ROOMS.items()
            if who.role in room.roles
        ],
        "has": {name for name, room in ROOMS.items() if who.role in room.roles},
        "who": who,
        "policy_version": visit.gateway.active.policy.version,
        "token": form_token(session_of(visit.context)),
    }


async def _given(show: Show, visit: Visit) -> Given:
    try:
        return await show(visit)
    except ReportRefused as refused:
        raise refusal_of(refused) from None


async def _respond_sheet(context: RequestContext, send: Send, sheet: Sheet) -> None:
    headers = [
        *_HEADERS,
        (b"content-type", b"text/csv; charset=utf-8"),
        (b"content-disposition", f'attachment; filename="{sheet.name}"'.encode()),
        (b"cache-control", b"no-store"),
        (b"x-request-id", context.request_id.encode()),
    ]
    context.begun = True
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    async for piece in sheet.pieces:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def _zone(context: RequestContext) -> str:
    """As the reader's browser has said; UTC where it did not."""
    name = cookie_of(context, _ZONE).replace("%2F", "/")
    try:
        zone_of(name)
    except ValueError:
        return "UTC"
    return name


def _own_headers(error: ApiError) -> list[Header]:
    return [(name.lower().encode(), value.encode()) for name, value in error.headers.items()]


def _own(address: str) -> str:
    """A page of the console, and nothing else: whoever signs in is led to no other site."""
    is_ours = address == PREFIX or address.startswith((f"{PREFIX}/", f"{PREFIX}?"))
    return address if is_ours and address.isprintable() and address.isascii() else PREFIX


def _nothing_there() -> ApiError:
    return ApiError(404, "not_found", "There is no such page.")
