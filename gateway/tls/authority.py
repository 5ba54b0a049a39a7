"""A certificate authority of our own, made once, and the short-lived certificates it signs.

Sources: RFC 5280 (profile, name constraints); the CA/Browser Forum's Baseline Requirements
6.3.2, whose 397 days some clients demand of private certificates too.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import ipaddress
import os
import re
import socket
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from adapters.regular_files import read_regular
from gateway.tls.files import (
    Issued,
    TlsError,
    TlsMaterial,
    current,
    leaf_names,
    material_in,
    note_in,
)

CA_LIFE = datetime.timedelta(days=3652)
LEAF_LIFE = datetime.timedelta(days=397)
RENEW_BEFORE = datetime.timedelta(days=30)
CLOCK_SKEW = datetime.timedelta(hours=1)
"""A certificate is dated back by this much, for clients whose clock is behind."""

# A stolen CA key must not be good for the names of strangers: private networks and this
# machine's own name are all that it may sign for, whatever a client lets it vouch for.
PRIVATE_NETWORKS = (
    "127.0.0.0/8",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "::1/128",
    "fc00::/7",
    "fe80::/10",
)

_DNS = re.compile(r"(?=.{1,253}\Z)[a-z0-9_](?:[a-z0-9_-]{0,62})(?:\.[a-z0-9_][a-z0-9_-]{0,62})*")


class Authority(msgspec.Struct, frozen=True, kw_only=True):
    """A certificate authority's own certificate and its private key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def issue(folder: Path, hosts: Sequence[str], now: datetime.datetime) -> TlsMaterial:
    """Makes what is missing in ``folder``: the authority, then a certificate for ``hosts``.

    One process works at a time and the others take what it made. A reader sees the old file or
    the new one, never a part: each is written aside and renamed. Raises OSError, and TlsError
    for a name that no certificate can carry.
    """
    names = leaf_names(hosts)
    for name in names:
        check_name(name)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _locked(folder / ".lock"):
        found = current(folder, hosts, now)
        if found is not None:
            return found
        _clear(folder)
        authority = _authority(folder, names, now)
        _issue_leaf(folder, authority, names, now)
    return material_in(folder)


def check_name(name: str) -> None:
    """Raises TlsError for a name that no certificate can carry."""
    if _address(name) is None and not _is_dns(name):
        raise TlsError(
            f"{name!r} is no host name that a certificate can carry; set server.listen to an "
            "address or a plain host name, or server.tls to files of your own"
        )


def _clear(folder: Path) -> None:
    """Takes back the word that all is well, and what a killed process left half written."""
    note_in(folder).unlink(missing_ok=True)
    for stale in folder.glob(".*.tmp"):
        stale.unlink()


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    # The kernel frees the lock when its holder dies, so nobody waits for a dead process.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _authority(folder: Path, names: Sequence[str], now: datetime.datetime) -> Authority:
    """The one in ``folder`` if it will do, or a new one."""
    # The key's file holds the certificate too and is the truth; ca.pem is what clients are given.
    secret = folder / "ca.key"
    authority = _load_authority(secret)
    if authority is None or not _will_do(authority, names, now):
        authority = _make_authority(names, now)
        _write(secret, _pem_key(authority.key) + _pem(authority.certificate), mode=0o600)
    _write(material_in(folder).ca, _pem(authority.certificate), mode=0o644)
    return authority


def _load_authority(secret: Path) -> Authority | None:
    try:
        pem = secret.read_bytes()
        key = serialization.load_pem_private_key(pem, password=None)
        certificate = x509.load_pem_x509_certificate(pem)
    except (FileNotFoundError, ValueError):
        return None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        return None
    return Authority(certificate=certificate, key=key)


def _will_do(authority: Authority, names: Sequence[str], now: datetime.datetime) -> bool:
    lasts = authority.certificate.not_valid_after_utc > now + LEAF_LIFE + RENEW_BEFORE
    begun = authority.certificate.not_valid_before_utc <= now
    constraints = authority.certificate.extensions.get_extension_for_class(x509.NameConstraints)
    permitted = constraints.value.permitted_subtrees or []
    return lasts and begun and all(_permits(permitted, name) for name in names)


def _permits(permitted: Sequence[x509.GeneralName], name: str) -> bool:
    address = _address(name)
    if address is None:
        allowed = [one.value for one in permitted if isinstance(one, x509.DNSName)]
        return any(name == one or name.endswith(f".{one}") for one in allowed)
    networks = [ipaddress.ip_network(str(one.value)) for one in permitted if _is_network(one)]
    return any(address in network for network in networks)


def _is_network(name: x509.GeneralName) -> bool:
    return isinstance(name, x509.IPAddress)


def _make_authority(names: Sequence[str], now: datetime.datetime) -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    name = _subject("Spillgate local CA")
    builder = (
        _builder(name, name, key, now, now + CA_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(_constraints(names), critical=True)
    )
    return Authority(certificate=builder.sign(key, hashes.SHA256()), key=key)


def _constraints(names: Sequence[str]) -> x509.NameConstraints:
    machine = socket.gethostname().lower()
    own = dict.fromkeys([*names, *([machine] if _is_dns(machine) else [])])
    addresses = [address for name in own if (address := _address(name)) is not None]
    networks = [ipaddress.ip_network(text) for text in PRIVATE_NETWORKS]
    networks += [ipaddress.ip_network(address) for address in addresses]
    dns = [x509.DNSName(name) for name in own if _address(name) is None]
    permitted = [*dns, *(x509.IPAddress(network) for network in dict.fromkeys(networks))]
    return x509.NameConstraints(permitted_subtrees=permitted, excluded_subtrees=None)


def _is_dns(name: str) -> bool:
    return _DNS.fullmatch(name) is not None


def _issue_leaf(
    folder: Path, authority: Authority, names: tuple[str, ...], now: datetime.datetime
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = authority.certificate
    since = now - CLOCK_SKEW
    until = since + LEAF_LIFE
    builder = (
        _builder(_subject("Spillgate"), issuer.subject, key, now, until)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(_general_names(names)), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()),
            critical=False,
        )
    )
    leaf = builder.sign(authority.key, hashes.SHA256())
    _write(material_in(folder).cert, _pem_key(key) + _pem(leaf), mode=0o600)
    issued = Issued(
        hosts=names,
        not_before=since.timestamp(),
        not_after=until.timestamp(),
        renew_after=(until - RENEW_BEFORE).timestamp(),
    )
    _write(note_in(folder), msgspec.json.encode(issued), mode=0o644)


def end_of(cert: Path) -> datetime.datetime:
    """When a certificate's file ends to be valid, UTC. Raises OSError and ValueError."""
    return x509.load_pem_x509_certificate(read_regular(cert)).not_valid_after_utc


def names_in(path: Path) -> list[str]:
    """The host names and addresses that a PEM file's first certificate is for; none where it
    cannot be read or says none."""
    try:
        leaf = x509.load_pem_x509_certificate(read_regular(path))
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (OSError, ValueError, x509.ExtensionNotFound):
        return []
    addresses = [str(one) for one in names.get_values_for_type(x509.IPAddress)]
    return [*names.get_values_for_type(x509.DNSName), *addresses]


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    now: datetime.datetime,
    until: datetime.datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(until)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _subject(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _general_names(names: Sequence[str]) -> list[x509.GeneralName]:
    addresses = {name: _address(name) for name in names}
    return [
        x509.DNSName(name) if address is None else x509.IPAddress(address)
        for name, address in addresses.items()
    ]


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _pem_key(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _write(path: Path, content: bytes, *, mode: int) -> None:
    """Durable and whole: readers see the old content or the new one."""
    descriptor, temporary = tempfile.mkstemp(
        dir=path.parent, prefix=f".{path.name}.", suffix=".tmp"
    )
    try:
        with open(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
