"""One call as a handler sees it: what it is given, how it refuses, and what it may answer with."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Mapping
from typing import TYPE_CHECKING, Any, Generic

import msgspec

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    T = TypeVar("T", default=Any)
else:
    from typing import TypeVar

    T = TypeVar("T")

BODILESS = frozenset((204, 304))
"""Statuses that end with the head (RFC 9110, section 6.4.1): what followed would be read as the
next answer."""


class InvalidInput(Exception):
    """Raised by a handler to refuse the caller's input: the caller sees ``message``.

    ``param`` names the field at fault. A batch handler returns one in the place of a result to
    refuse that request alone.
    """

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param


class Cancellation:
    """A flag that another thread sets when nobody waits for the result any more."""

    __slots__ = ("_flag",)

    def __init__(self) -> None:
        self._flag = False  # nobody waits for it, so no lock is needed, nor its cost in each call

    def set(self) -> None:
        """Nobody waits any more."""
        self._flag = True

    def is_set(self) -> bool:
        """True once nobody waits."""
        return self._flag


class File(msgspec.Struct, frozen=True, kw_only=True):
    """A file that came with a call."""

    data: bytes
    name: str = ""
    """What its sender calls it: no path to be trusted."""
    content_type: str = "application/octet-stream"
    """What its sender says that it is."""
    field: str = ""
    """Of a form: which field it is."""


class Request(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """One call, as a handler sees it. A handler that writes ``Request[Ask]`` is given no other
    input than an ``Ask``."""

    json: T
    """The caller's JSON, decoded; of a form, its fields by name; None for a body that is one
    file."""
    id: str = ""
    """The request id."""
    route: str = "/"
    model: str = ""
    """The name of the model that the handler was given; of a handler without models, the name that
    the caller gave to a gateway."""
    stream: bool = False
    """The caller takes the result in pieces: a handler may return a generator."""
    headers: Mapping[str, str] = {}
    """The caller's HTTP headers by lower-case name; none where a gateway stands between."""
    files: tuple[File, ...] = ()
    """Those of a form, in their order, or the one that is the body."""
    cancellation: Cancellation = msgspec.field(default_factory=Cancellation)

    def file(self, field: str = "") -> File:
        """The file of a form's field; without a name, the first that came. Raises InvalidInput
        where there is none."""
        for file in self.files:
            if not field or file.field == field:
                return file
        text = f"the form has no file {field!r}" if field else "no file came with the call"
        raise InvalidInput(text, param=field or None)

    @property
    def cancelled(self) -> bool:
        """Nobody waits for the result: a long synchronous handler should look, and return."""
        return self.cancellation.is_set()


class Response(msgspec.Struct, frozen=True, kw_only=True):
    """A result with a status: 4xx refuses the caller's input, 5xx is a failure of the handler.

    For those the message is ``json["error"]["message"]``, ``json["message"]`` or ``json["error"]``.
    The app's own server answers with this very status, headers and body; a gateway has words of
    its own for failures, and passes on the Content-Type alone.

    Raises ValueError for a ``json`` together with a ``body`` and for a status that ends no answer
    (below 200, above 599), and TypeError for a ``body`` of another type.
    """

    json: Any = None
    status: int = 200
    headers: Mapping[str, str] = {}
    body: bytes | Generator[bytes, None, None] | AsyncGenerator[bytes, None] | None = None
    """Bytes instead of JSON, whole or in pieces; ``headers`` should name their Content-Type."""

    def __post_init__(self) -> None:
        if self.json is not None and self.body is not None:
            raise ValueError("a Response has a json or a body, not both")
        if not isinstance(self.body, bytes | Generator | AsyncGenerator | None):
            raise TypeError("the body of a Response is bytes, or a generator of bytes")
        if not 200 <= self.status <= 599:  # 1xx is no answer: the caller would wait for one
            raise ValueError(f"{self.status} is no HTTP status of an answer")
