"""Whom an HTTPS backend's certificate is believed by: the system's authorities, or a file's."""

from __future__ import annotations

import ssl

_CONTEXTS: dict[str | None, ssl.SSLContext] = {}


def trust_context(ca_file: str | None = None) -> ssl.SSLContext:
    """The process's one TLS context (one more for each private authority): making it is slow.

    Raises OSError, of which ssl.SSLError is one, for a file that is of no use.
    """
    found = _CONTEXTS.get(ca_file)
    return read_trust(ca_file) if found is None else found


def read_trust(ca_file: str | None) -> ssl.SSLContext:
    """Reads the file again; connections that are made from now on believe what it says now.

    Raises OSError, and then what was read before stays in force.
    """
    context = ssl.create_default_context(cafile=ca_file)
    context.set_alpn_protocols(["http/1.1"])
    _CONTEXTS[ca_file] = context
    return context
