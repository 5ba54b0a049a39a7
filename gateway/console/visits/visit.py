"""One request as pages see it, and what a page gives: values for a template, a table, or the way
to another page."""

from __future__ import annotations

import datetime
from collections.abc import AsyncIterator, Mapping
from typing import Any
from urllib.parse import quote, urlencode

import msgspec
from markupsafe import Markup

from gateway.api.requests.request import RequestContext, Scope
from gateway.console.drawing.figures import when
from gateway.console.sign_in.cookies import PREFIX
from gateway.service import Gateway
from gateway.storage.calendar import zone_of
from gateway.types import Principal

Params = dict[str, str]
_OF_ONE_VIEW = ("after", "done")
"""Parameters that a link to another view leaves out."""


class Visit(msgspec.Struct, frozen=True, kw_only=True):
    """``params`` are of the query, ``form`` of a POST; ``page`` is the first word of the path and
    ``rest`` what follows; ``zone`` is the reader's."""

    gateway: Gateway
    scope: Scope
    page: str
    rest: str = ""
    params: Params = {}
    form: Params = {}
    zone: str = "UTC"

    @property
    def context(self) -> RequestContext:
        """Of the request."""
        found: RequestContext = self.scope["context"]
        return found

    @property
    def who(self) -> Principal:
        """Whose session it is."""
        return self.context.principal

    @property
    def is_admin(self) -> bool:
        """Who sees everybody's."""
        return self.who.role == "admin"

    @property
    def sees_others(self) -> bool:
        """Whether there are other users whose calls are told: all, or those of a team."""
        return self.who.role != "user"

    @property
    def now_at(self) -> float:
        """When the request came, in seconds since the epoch."""
        return self.context.received_at

    @property
    def tzinfo(self) -> datetime.tzinfo:
        """The reader's zone."""
        return zone_of(self.zone)

    @property
    def span_ends(self) -> dict[str, str | None]:
        """Those parameters that say what time is looked at, where its ends are given."""
        return {name: self.params.get(name) for name in ("from", "to")}

    def here(self, **changed: str | None) -> str:
        """The same page with other parameters; None leaves one out."""
        return link(self.page, {**self.params, **changed}, self.rest)


def told_instant(text: str, visit: Visit, form: str = "minute") -> Markup:
    """An instant in the form of the API, as pages show it."""
    return when(datetime.datetime.fromisoformat(text).timestamp(), visit.tzinfo, form)


def link(page: str, params: Mapping[str, str | None], rest: str = "") -> str:
    """The address of a page of the console; parameters that are None or empty are left out."""
    path = "/".join(quote(part, safe="/") for part in (PREFIX, page, rest) if part)
    kept = {name: value for name, value in params.items() if value and name not in _OF_ONE_VIEW}
    return f"{path}?{urlencode(kept)}" if kept else path


class HtmlPage(msgspec.Struct, frozen=True):
    """A template and its values."""

    template: str
    values: dict[str, Any]
    status: int = 200


class Sheet(msgspec.Struct, frozen=True):
    """A table as CSV, with the name that its file gets."""

    name: str
    pieces: AsyncIterator[bytes]


class Onward(msgspec.Struct, frozen=True):
    """The way to another page, after something was done."""

    to: str


Given = HtmlPage | Sheet | Onward
