"""The files that a policy names, read again on SIGHUP, each by itself: one that is of no use
leaves in force what was read from it before."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec

from adapters.trust import ClientCertificate, certificate_of, check_certificate, read_trust
from gateway.policy.model import Policy

log = logging.getLogger("spillgate")


class FileRead(msgspec.Struct, frozen=True, omit_defaults=True):
    what: str
    """Such as ``server.tls`` or ``backends.burst.ca_file``."""
    file: str
    error: str = ""
    """Why it was not taken; empty where it was."""


ReadFiles = Callable[[], Iterable[FileRead]]


def read_again(readers: Sequence[ReadFiles]) -> tuple[FileRead, ...]:
    """Reads, and says so in the log."""
    found = tuple(one for read in readers for one in read())
    for one in found:
        if one.error:
            log.error("%s: %s; what was read before stays in force", one.what, one.error)
        else:
            log.info("%s: read %s", one.what, one.file)
    return found


def read_backend_files(policy: Policy) -> Iterator[FileRead]:
    """The authorities of every backend's server, and the certificates that it is shown; a
    connection that is open goes on."""
    error_of = functools.cache(_error_of)
    for name, spec in policy.backends.items():
        given = functools.partial(getattr, spec.settings)
        ca_file = given("ca_file", None)
        certificate = certificate_of(given("client_cert", None), given("client_key", None))
        if ca_file is not None:
            yield FileRead(f"backends.{name}.ca_file", ca_file, error_of(ca_file, None))
        if certificate is not None:
            error = error_of(ca_file, certificate)
            yield FileRead(f"backends.{name}.client_cert", certificate.cert, error)


def _error_of(ca_file: str | None, certificate: ClientCertificate | None) -> str:
    named = "" if certificate is None else f"{certificate.cert} with {certificate.key}"
    try:
        if certificate is not None:
            check_certificate(certificate)
        named = ca_file or named
        read_trust(ca_file, certificate)
    except (OSError, ValueError) as error:
        return f"{named} is of no use: {getattr(error, 'strerror', None) or error}"
    return ""
