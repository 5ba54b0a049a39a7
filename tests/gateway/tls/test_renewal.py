"""A renewed certificate is shown to whoever comes next, and disturbs nobody who is there."""

from __future__ import annotations

import datetime
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from gateway.tls.files import TlsError, TlsMaterial
from gateway.tls.renewal import ServerCertificate

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def ec_key() -> Key:
    return ec.generate_private_key(ec.SECP256R1())


def rsa_key() -> Key:
    return rsa.generate_private_key(65537, 2048)


def issue(folder: Path, name: str, key: Key) -> TlsMaterial:
    """A certificate that its own key has signed, in the files that the listener reads."""
    now = datetime.datetime.now(datetime.UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    cert, private = folder / "cert.pem", folder / "key.pem"
    cert.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return TlsMaterial(ca=cert, cert=cert, key=private)


class Handshake:
    """A client and the listener, over memory."""

    def __init__(self, server: ssl.SSLContext, name: str | None) -> None:
        trust = ssl.create_default_context()
        trust.check_hostname = False
        trust.verify_mode = ssl.CERT_NONE
        to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.client = trust.wrap_bio(to_client, to_server, server_hostname=name)
        self.server = server.wrap_bio(to_server, to_client, server_side=True)
        ends = [self.client, self.server]
        while ends:
            ends = [end for end in ends if not shakes_hands(end)]

    @property
    def shown(self) -> str:
        """The name in the certificate that the client was shown."""
        raw = self.client.getpeercert(binary_form=True)
        assert raw is not None
        attributes = x509.load_der_x509_certificate(raw).subject
        return str(attributes.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)

    def carries(self, data: bytes) -> bool:
        self.client.write(data)
        return self.server.read() == data


def shakes_hands(end: ssl.SSLObject) -> bool:
    try:
        end.do_handshake()
    except ssl.SSLWantReadError:
        return False
    return True


@pytest.mark.parametrize("name", ["gateway.example", None], ids=["by name", "by address"])
@pytest.mark.parametrize(
    ("before", "after"), [(ec_key, ec_key), (ec_key, rsa_key), (rsa_key, ec_key)]
)
def test_a_renewed_certificate_is_shown_to_new_connections_and_old_ones_go_on(
    before: object, after: object, name: str | None, tmp_path: Path
) -> None:
    """Also where its key is of another kind than the old one's, and to clients that name nobody."""
    assert callable(before)
    assert callable(after)
    material = issue(tmp_path, "old.example", before())
    certificate = ServerCertificate(lambda: material)
    first = Handshake(certificate.context, name)
    assert first.shown == "old.example"
    issue(tmp_path, "new.example", after())
    certificate.renew()
    assert Handshake(certificate.context, name).shown == "new.example"
    assert first.carries(b"still here")


@pytest.mark.parametrize("broken", ["cert", "key"])
def test_a_file_that_is_of_no_use_leaves_the_old_certificate_in_force(
    broken: str, tmp_path: Path
) -> None:
    material = issue(tmp_path, "old.example", ec_key())
    certificate = ServerCertificate(lambda: material)
    getattr(material, broken).write_text("half written")
    with pytest.raises(TlsError):
        certificate.renew()
    assert Handshake(certificate.context, None).shown == "old.example"
    issue(tmp_path, "new.example", ec_key())
    certificate.renew()
    assert Handshake(certificate.context, None).shown == "new.example"
