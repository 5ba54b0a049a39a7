"""By whom an HTTPS backend's certificate is believed, and what it is shown of us."""

from __future__ import annotations

import ssl
from typing import NamedTuple

from adapters.regular_files import checked


class ClientCertificate(NamedTuple):
    """PEM files of what a backend is shown: the certificate with its chain, and its key."""

    cert: str
    key: str


def certificate_of(cert: str | None, key: str | None) -> ClientCertificate | None:
    """Of two settings; without a ``key`` it is in the same file."""
    return None if cert is None else ClientCertificate(cert, key or cert)


_CONTEXTS: dict[tuple[str | None, ClientCertificate | None], ssl.SSLContext] = {}


def trust_context(
    ca_file: str | None = None, certificate: ClientCertificate | None = None
) -> ssl.SSLContext:
    """The process's one TLS context (one more for each private authority, and each certificate of
    ours): making it is slow.

    Raises OSError, of which ssl.SSLError is one, for a file that is of no use.
    """
    found = _CONTEXTS.get((ca_file, certificate))
    return read_trust(ca_file, certificate) if found is None else found


def read_trust(ca_file: str | None, certificate: ClientCertificate | None = None) -> ssl.SSLContext:
    """Reads the files again; connections that are made from now on believe and show what they say
    now.

    Raises OSError, and then what was read before stays in force.
    """
    context = ssl.create_default_context(cafile=checked(ca_file))
    context.set_alpn_protocols(["http/1.1"])
    if certificate is not None:
        _show(context, certificate)
    _CONTEXTS[ca_file, certificate] = context
    return context


def check_certificate(certificate: ClientCertificate) -> None:
    """Reads the files as they are now, and keeps nothing. Raises OSError and ValueError."""
    _show(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), certificate)


def _show(context: ssl.SSLContext, certificate: ClientCertificate) -> None:
    checked(certificate.cert)
    checked(certificate.key)
    # With a password an encrypted key is an error, and not a question at the terminal.
    context.load_cert_chain(certificate.cert, certificate.key, password="")
