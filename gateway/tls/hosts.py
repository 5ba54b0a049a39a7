"""By which names clients may reach this machine, for a certificate that is made here."""

from __future__ import annotations

import contextlib
import ipaddress
import re
import socket
from collections.abc import Iterator, Sequence

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,250}[A-Za-z0-9])?")
_ELSEWHERE = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}
"""Addresses of documentation (RFC 5737, RFC 3849): nothing is sent there."""


def hosts_of(listen: str, named: Sequence[str] = ()) -> list[str]:
    """``named``, and the address that is listened on; where that is every address, the machine's
    own name and addresses."""
    with contextlib.suppress(ValueError):
        if ipaddress.ip_address(listen).is_unspecified:
            return list(dict.fromkeys([listen, *named, *_own()]))
    return list(dict.fromkeys([listen, *named]))


def _own() -> Iterator[str]:
    names = (socket.gethostname(), socket.getfqdn())
    yield from (name.lower() for name in names if _NAME.fullmatch(name))
    for family, elsewhere in _ELSEWHERE.items():
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as asking:
            asking.connect((elsewhere, 9))  # of a datagram: this only looks up the way there
            yield str(asking.getsockname()[0])
