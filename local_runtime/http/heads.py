"""What one connection's client sends, and the heads of its requests, as the parser tells of them.

A plain one has one Host, is of HTTP/1.1, and its body is of a known length or in chunks. Whatever
says anything else is looked at closely, and may be refused.
"""

from __future__ import annotations

import asyncio
import functools
import re
from typing import Any

import httptools

from local_runtime.http.client_timer import ClientTimer
from local_runtime.http.errors import Refusal
from local_runtime.http.head import TargetHost
from local_runtime.http.lingering import Lingering
from local_runtime.http.request_cycle import Cycle
from local_runtime.http.unreadable import (
    BAD_HOST,
    FRAMED_TWICE,
    NO_HOST,
    NO_HTTP,
    OTHER_VERSION,
    TOO_LARGE,
    Unreadable,
    not_decoded,
    refusal_of,
)

_HOST, _CODING = b"host", b"transfer-encoding"
_LOOKED_AT = frozenset((_HOST, _CODING, b"expect"))
_PLAIN, _DOUBTFUL = 1, 2
_LINE = 2048
"""Bytes of a head that comes in pieces in which its first line is looked for."""
_NAMES_HOST = re.compile(
    rb"(?:\[[0-9A-Fa-f:.]+(?:%[%\w.~-]+)?\]|(?:[!$&-.0-9;=A-Z_a-z~]|%[0-9A-Fa-f]{2})*)(?::[0-9]*)?"
)
"""A name, or an address, and perhaps a port (RFC 9110, 7.2; RFC 3986, 3.2)."""


@functools.lru_cache(maxsize=32)
def names_host(value: bytes) -> bool:
    """Whether a Host header may say so: nothing at all, too, of a target that has no host."""
    return _NAMES_HOST.fullmatch(value) is not None


class Heads(asyncio.Protocol):
    """Those of one connection, each of at most ``max_head`` bytes."""

    parser: Any
    """httptools', or a ``BodyParser``."""
    client_timer: ClientTimer
    reading: Cycle | None
    """The newest request."""
    lingering: Lingering | None

    def __init__(self, max_head: int, is_known_by_head: bool) -> None:
        """``is_known_by_head``: whoever sends a head has shown who it is."""
        self.is_known = False
        self.url = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.wants_continue = False
        self._in_head = False
        self._marks = 0
        """``_PLAIN`` of a head that has one Host, and nothing that is to be looked at closely."""
        self._max_head = max_head
        self._unread = 0
        """Bytes since the last end of a head or part of a body: they wait in the parser."""
        self._is_measured = False
        """So much came at once that a head in it may be too large."""
        self._read = b""
        """What is being read."""
        self._part = b""
        """What was read before of a head that comes in pieces."""
        self._is_known_by_head = is_known_by_head

    # --- from the transport ----------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Reads on; what cannot be read, or never ends, is refused."""
        self._read = data
        self._unread += len(data)
        if self._unread > self._max_head:
            self._is_measured = True
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._wishes_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            self._refuse(refusal_of(error))
        self._read = b""
        if self._is_measured:
            self._measured()
        if self._in_head or (self.reading is not None and self.reading.more_body):
            self._received_part(data)

    def _measured(self) -> None:
        self._is_measured = False
        if self._unread > self._max_head:
            self._refuse(TOO_LARGE)

    def _received_part(self, data: bytes) -> None:
        if self._in_head:
            is_first = self.client_timer.part_since is None
            self._part = data[:_LINE] if is_first else (self._part + data)[:_LINE]
        if self.lingering is None:
            self.client_timer.received_part(len(data))

    def _refuse(self, refusal: Refusal) -> None:
        raise NotImplementedError

    def _wishes_upgrade(self, rest: bytes) -> None:
        raise NotImplementedError

    # --- from the parser -------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """A request begins."""
        self.url = b""
        self.headers = []
        self._marks = 0
        self.wants_continue = False
        self._in_head = True

    def on_url(self, url: bytes) -> None:
        """A part of its target."""
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header, whole. What stands behind a body in chunks is no header (RFC 9110, 6.5.1):
        whoever checked the head has not seen it."""
        if not self._in_head:
            return
        name = name.lower()
        if name in _LOOKED_AT:
            if name == _HOST and names_host(value):
                self._marks += _PLAIN
            else:
                self._look_at(name, value)
        self.headers.append((name, value))

    def _look_at(self, name: bytes, value: bytes) -> None:
        if name == _HOST:
            self._marks += _DOUBTFUL
        elif name == _CODING:
            self._marks += 0 if value.lower() == b"chunked" else _DOUBTFUL
        else:
            is_asked = value.lower() == b"100-continue"
            self.wants_continue = is_asked and self.parser.get_http_version() != "1.0"

    def _end_head(self) -> str:
        """Its version. Raises Unreadable for one that cannot be answered."""
        version: str = self.parser.get_http_version()
        if self._marks != _PLAIN or version != "1.1" or self._is_measured:
            self._look_closely(version)
        self._unread = 0
        self._in_head = False
        if self.client_timer.part_since is not None:
            self.client_timer.received_whole()
            self._part = b""
        if self._is_known_by_head:
            self.is_known = True
        return version

    # --- closely ---------------------------------------------------------------------------------

    def _look_closely(self, version: str) -> None:
        if self._is_measured and self._size() > self._max_head:
            raise Unreadable(TOO_LARGE)
        if version not in ("1.0", "1.1"):
            raise Unreadable(OTHER_VERSION)
        if version == "1.0" and self._speaks_another():
            raise Unreadable(NO_HTTP)
        self._check_codings(self._all_of(_CODING), version)
        hosts = self._all_of(_HOST)
        if len(hosts) > 1 or (not hosts and version != "1.0"):
            raise Unreadable(NO_HOST)
        if not all(map(names_host, hosts)):
            raise Unreadable(BAD_HOST)

    def _size(self) -> int:
        headers = sum(len(name) + len(value) + 4 for name, value in self.headers)
        return len(self.url) + headers

    def _speaks_another(self) -> bool:
        """RTSP's and ICE's lines are those of HTTP, but for their names, of which the parser says
        nothing."""
        method = self.parser.get_method()
        line = rb"%b +%b +(?:RTSP|ICE)/" % (re.escape(method), re.escape(self.url))
        return re.search(line, self._part + self._read) is not None

    def _all_of(self, name: bytes) -> list[bytes]:
        return [value for each, value in self.headers if each == name]

    @staticmethod
    def _check_codings(values: list[bytes], version: str) -> None:
        """RFC 9112, 6.1 and 6.3: a body in another coding than ``chunked`` would be handed on as
        it is, and by HTTP/1.0 one in chunks may have passed somebody who knows of none."""
        codings = [each.strip().lower() for each in b",".join(values).split(b",") if each.strip()]
        if values and (version == "1.0" or codings[-1:] != [b"chunked"]):
            raise Unreadable(FRAMED_TWICE)
        for coding in codings[:-1]:
            if coding != b"chunked":
                raise Unreadable(not_decoded(coding.decode("latin-1")))

    def _take_authority(self, authority: TargetHost) -> None:
        """The host in a target is the request's, whatever its Host header says (RFC 9112, 3.2.2),
        unless that says nothing. Raises Unreadable."""
        if not authority.is_plain or b"" in self._all_of(_HOST):
            raise Unreadable(BAD_HOST)
        self.headers[:] = [one for one in self.headers if one[0] != _HOST]
        self.headers.append((_HOST, authority.host))
