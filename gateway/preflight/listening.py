"""Whether a policy can be listened by: its ports, and the certificate that clients are shown."""

from __future__ import annotations

import datetime
import errno
import ipaddress
import socket
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from gateway.policy.model import Policy
from gateway.policy.sections.server import TlsFiles, TlsNames
from gateway.policy.syntax.problems import (
    Mark,
    Problem,
    place_of,
    problem_at,
)
from gateway.preflight.claims import addresses_of
from gateway.tls.context import check_readable, server_context
from gateway.tls.files import TlsError, TlsMaterial, current
from gateway.tls.hosts import hosts_of

Found = Iterator[tuple[str, str]]
"""(key path, message)."""

_UNPRIVILEGED = 1024
"""The first port that everybody may listen on."""


def listener_faults(policy: Policy) -> Found:
    for path, (host, port) in addresses_of(policy).items():
        try:
            _bind(host, port if port < _UNPRIVILEGED else 0)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                yield path, f"{host}:{port} cannot be listened on: {error.strerror}"


class PortTaken(Exception):
    """Another program listens there. The message is for the operator."""


def check_ports_are_free(policy: Policy) -> None:
    """What ``check`` leaves out, for the gateway that is checked may be running. Raises
    PortTaken."""
    for path, (host, port) in addresses_of(policy).items():
        try:
            _bind(host, port)
        except OSError as error:
            raise PortTaken(
                f"{path}: {host}:{port} cannot be listened on: {error.strerror}. If a gateway "
                f"runs there already, end it; else give another port in {path}"
            ) from None


def _bind(host: str, port: int) -> None:
    """Takes the address for an instant; nobody can connect meanwhile."""
    for family, kind, protocol, _, address in socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    ):
        with socket.socket(family, kind, protocol) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)


# --- certificates --------------------------------------------------------------------------------


def certificate_faults(policy: Policy) -> Found:
    tls, (host, _) = policy.server.tls, policy.server.listen
    folder = Path(policy.server.data) / "tls"
    named = tls.names if isinstance(tls, TlsNames) else ()
    if isinstance(tls, TlsFiles):
        yield from _files(tls)
    elif tls == "off":
        return
    elif made := current(folder, hosts_of(host, named), datetime.datetime.now(datetime.UTC)):
        try:
            server_context(made)
        except TlsError as error:
            yield "server.tls", f"{error}; remove {folder / 'issued.json'} to have it made anew"
    else:
        yield from _names({"server.listen": (host,), "server.tls.names": named})


def _names(places: Mapping[str, Iterable[str]]) -> Found:
    for path, names in places.items():
        for name in names:
            if _address(name) is not None:
                continue
            # Imported here because a check of an address must not pay for ``cryptography``.
            from gateway.tls.authority import check_name

            try:
                check_name(name.lower())
            except TlsError as error:
                yield path, str(error)


def _files(tls: TlsFiles) -> Found:
    cert, key = Path(tls.cert), Path(tls.key)
    material = TlsMaterial(ca=cert, cert=cert, key=key)
    for path, look in (
        ("server.tls.cert", lambda: check_readable("certificate", cert)),
        ("server.tls.key", lambda: check_readable("private key", key)),
        ("server.tls", lambda: server_context(material)),
    ):
        try:
            look()
        except (TlsError, ValueError) as error:
            yield path, str(error)
            return


def certificate_warnings(policy: Policy, places: Mapping[str, Mark]) -> tuple[Problem, ...]:
    """Where the listener is reached from elsewhere and its own files are for loopback names alone.
    Reads the certificate."""
    tls, (host, _) = policy.server.tls, policy.server.listen
    if not isinstance(tls, TlsFiles) or _is_loopback(host):
        return ()
    # Imported here because only a listener with files of its own pays for ``cryptography``.
    from gateway.tls.authority import names_in

    names = names_in(Path(tls.cert))
    if not names or not all(_is_loopback(name) for name in names):
        return ()
    message = (
        f"reached from elsewhere, but the certificate is for {', '.join(names)} alone: other "
        "clients will not trust it"
    )
    return (problem_at(place_of("server.listen", places), "server.listen", message),)


def _is_loopback(host: str) -> bool:
    address = _address(host)
    return host.lower() == "localhost" if address is None else address.is_loopback


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
