"""The files that a policy names, read again on SIGHUP, each by itself: one that is of no use
leaves in force what was read from it before."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec

from adapters.trust import read_trust
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


def read_ca_files(policy: Policy) -> Iterator[FileRead]:
    """The authorities of every backend's server; a connection that is open goes on."""
    errors: dict[str, str] = {}
    for name, spec in policy.backends.items():
        file = getattr(spec.settings, "ca_file", None)
        if file is not None:
            if file not in errors:
                errors[file] = _error_of(file)
            yield FileRead(f"backends.{name}.ca_file", file, errors[file])


def _error_of(file: str) -> str:
    try:
        read_trust(file)
    except (OSError, ValueError) as error:
        return f"{file} is of no use: {getattr(error, 'strerror', None) or error}"
    return ""
