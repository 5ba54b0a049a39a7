"""TLS: certificates made once, renewed in time, and served to clients who trust only the CA."""

from __future__ import annotations

import asyncio
import concurrent.futures
import datetime
import ipaddress
import multiprocessing
import shutil
import ssl
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.tls.authority import CA_LIFE, LEAF_LIFE
from gateway.tls.context import ensure_certificates, server_context
from gateway.tls.files import TlsError, TlsMaterial, current, leaf_names

NOW = datetime.datetime(2026, 3, 1, 12, 0, tzinfo=datetime.UTC)
DAY = datetime.timedelta(days=1)


def today() -> datetime.datetime:
    """A handshake's client reads the real clock, so its certificate must be good today."""
    return datetime.datetime.now(datetime.UTC)


def leaf(material: TlsMaterial) -> x509.Certificate:
    return x509.load_pem_x509_certificate(material.cert.read_bytes())


def authority(material: TlsMaterial) -> x509.Certificate:
    return x509.load_pem_x509_certificate(material.ca.read_bytes())


@asynccontextmanager
async def serving(material: TlsMaterial, host: str = "127.0.0.1") -> AsyncIterator[int]:
    """A TLS server that answers every connection with one HTTP response; gives its port."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\nconnection: close\r\n\r\nwarm")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, host, 0, ssl=server_context(material))
    async with server:
        yield server.sockets[0].getsockname()[1]


async def handshake(port: int, ca: Path, name: str, host: str = "127.0.0.1") -> ssl.SSLObject:
    trust = ssl.create_default_context(cafile=str(ca))
    trust.set_alpn_protocols(["h2", "http/1.1"])
    reader, writer = await asyncio.open_connection(host, port, ssl=trust, server_hostname=name)
    writer.write(b"GET / HTTP/1.1\r\n\r\n")
    assert (await reader.read()).endswith(b"warm")
    connection = writer.get_extra_info("ssl_object")
    writer.close()
    await writer.wait_closed()
    assert isinstance(connection, ssl.SSLObject)
    return connection


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "::1", "10.20.30.40", "gpu-box.lan"])
async def test_a_client_that_trusts_only_the_ca_accepts_every_name_it_was_issued_for(
    tmp_path: Path, name: str
) -> None:
    """The whole point: verification stays on, and it works."""
    material = ensure_certificates(tmp_path, ["10.20.30.40", "gpu-box.lan"], today())
    async with serving(material) as port:
        connection = await handshake(port, material.ca, name)
    assert connection.selected_alpn_protocol() == "http/1.1"
    assert connection.version() in {"TLSv1.2", "TLSv1.3"}


@pytest.mark.parametrize("name", ["example.com", "10.20.30.41"])
async def test_a_name_that_was_not_asked_for_is_refused_by_the_client(
    tmp_path: Path, name: str
) -> None:
    material = ensure_certificates(tmp_path, ["10.20.30.40"], today())
    async with serving(material) as port:
        with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
            await handshake(port, material.ca, name)


async def test_a_client_that_does_not_know_the_ca_refuses(tmp_path: Path) -> None:
    """Another gateway's authority vouches for nothing here."""
    mine = ensure_certificates(tmp_path / "mine", [], today())
    other = ensure_certificates(tmp_path / "other", [], today())
    async with serving(mine) as port:
        with pytest.raises(ssl.SSLCertVerificationError):
            await handshake(port, other.ca, "localhost")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_both_current_tls_versions_agree_on_a_cipher(
    tmp_path: Path, version: ssl.TLSVersion
) -> None:
    material = ensure_certificates(tmp_path, [], today())
    trust = ssl.create_default_context(cafile=str(material.ca))
    trust.minimum_version = trust.maximum_version = version
    async with serving(material) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trust)
        cipher = writer.get_extra_info("cipher")[0]
        writer.close()
        await writer.wait_closed()
    assert "GCM" in cipher or "CHACHA20" in cipher


def test_nothing_older_than_tls_1_2_is_spoken(tmp_path: Path) -> None:
    context = server_context(ensure_certificates(tmp_path, [], NOW))
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2


async def test_curl_works_with_the_printed_ca_file(tmp_path: Path) -> None:
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("curl is not installed")
    material = ensure_certificates(tmp_path, [], today())
    async with serving(material) as port:
        url = f"https://localhost:{port}/"
        process = await asyncio.create_subprocess_exec(
            curl, "--silent", "--max-time", "20", "--cacert", str(material.ca), url,
            stdout=subprocess.PIPE,
        )  # fmt: skip
        out, _ = await process.communicate()
    assert (process.returncode, out) == (0, b"warm")


def test_the_authority_may_vouch_for_private_networks_and_this_machine_alone(
    tmp_path: Path,
) -> None:
    """A stolen CA key must not be good for anybody else's name."""
    certificate = authority(ensure_certificates(tmp_path, [], NOW))
    extension = certificate.extensions.get_extension_for_class(x509.NameConstraints)
    permitted = extension.value.permitted_subtrees or []
    names = [one.value for one in permitted if isinstance(one, x509.DNSName)]
    networks = [
        ipaddress.ip_network(str(one.value)) for one in permitted if isinstance(one, x509.IPAddress)
    ]
    assert extension.critical
    assert "localhost" in names
    assert all("." not in name or name.endswith((".local", ".lan", ".internal")) for name in names)
    assert not any(ipaddress.ip_address("8.8.8.8") in network for network in networks)


async def test_a_certificate_for_a_strangers_name_is_refused_even_if_the_authority_signed_it(
    tmp_path: Path,
) -> None:
    """The constraint is enforced by clients: here a leaf forged with the CA's own key."""
    material = ensure_certificates(tmp_path, [], today())
    forged = forge(tmp_path, material, "example.com")
    async with serving(forged) as port:
        with pytest.raises(ssl.SSLCertVerificationError, match="permitted subtree"):
            await handshake(port, material.ca, "example.com")


def forge(folder: Path, material: TlsMaterial, name: str) -> TlsMaterial:
    secret = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), password=None)
    own = leaf(material)
    assert isinstance(secret, ec.EllipticCurvePrivateKey)
    builder = (
        x509.CertificateBuilder()
        .subject_name(own.subject)
        .issuer_name(own.issuer)
        .public_key(own.public_key())
        .serial_number(7)
        .not_valid_before(own.not_valid_before_utc)
        .not_valid_after(own.not_valid_after_utc)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    )
    for extension in own.extensions:
        if not isinstance(extension.value, x509.SubjectAlternativeName):
            builder = builder.add_extension(extension.value, extension.critical)
    cert = folder / "forged.pem"
    certificate = builder.sign(secret, hashes.SHA256())
    cert.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return TlsMaterial(ca=material.ca, cert=cert, key=material.key)


def test_a_second_start_finds_what_the_first_one_made(tmp_path: Path) -> None:
    first = ensure_certificates(tmp_path, ["gpu-box"], NOW)
    serial = leaf(first).serial_number
    again = ensure_certificates(tmp_path, ["gpu-box"], NOW + 90 * DAY)
    assert again == first
    assert leaf(again).serial_number == serial


def test_a_certificate_lasts_no_longer_than_clients_accept(tmp_path: Path) -> None:
    certificate = leaf(ensure_certificates(tmp_path, [], NOW))
    span = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    assert span <= datetime.timedelta(days=397)
    assert certificate.not_valid_before_utc < NOW


def test_a_certificate_near_its_end_is_renewed_under_the_same_authority(tmp_path: Path) -> None:
    """Clients that trust the CA notice nothing."""
    before = ensure_certificates(tmp_path, [], NOW)
    ca, serial = before.ca.read_bytes(), leaf(before).serial_number
    later = NOW + LEAF_LIFE - 29 * DAY
    assert current(tmp_path, [], later) is None
    after = ensure_certificates(tmp_path, [], later)
    assert after.ca.read_bytes() == ca
    assert leaf(after).serial_number != serial
    assert leaf(after).not_valid_after_utc > later + 300 * DAY


def test_changed_hosts_are_issued_for_under_the_same_authority(tmp_path: Path) -> None:
    ca = ensure_certificates(tmp_path, [], NOW).ca.read_bytes()
    after = ensure_certificates(tmp_path, ["192.168.7.7"], NOW)
    names = leaf(after).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert ipaddress.ip_address("192.168.7.7") in names.get_values_for_type(x509.IPAddress)
    assert after.ca.read_bytes() == ca


async def test_a_public_name_brings_a_new_authority_that_may_vouch_for_it(tmp_path: Path) -> None:
    ca = ensure_certificates(tmp_path, [], today()).ca.read_bytes()
    after = ensure_certificates(tmp_path, ["gpu.example.com"], today())
    assert after.ca.read_bytes() != ca
    async with serving(after) as port:
        await handshake(port, after.ca, "gpu.example.com")


def test_an_authority_near_its_end_is_replaced(tmp_path: Path) -> None:
    """No certificate ever outlives the authority that signed it."""
    ca = ensure_certificates(tmp_path, [], NOW).ca.read_bytes()
    after = ensure_certificates(tmp_path, [], NOW + CA_LIFE - LEAF_LIFE)
    assert after.ca.read_bytes() != ca
    assert leaf(after).not_valid_after_utc <= authority(after).not_valid_after_utc


def test_a_clock_that_was_ahead_at_the_first_start_does_not_last(tmp_path: Path) -> None:
    """What was issued in the future is issued again once the clock is right."""
    ensure_certificates(tmp_path, [], NOW + 400 * DAY)
    assert current(tmp_path, [], NOW) is None
    assert leaf(ensure_certificates(tmp_path, [], NOW)).not_valid_before_utc < NOW


@pytest.mark.parametrize("lost", ["server.pem", "issued.json", "ca.pem"])
def test_a_lost_file_is_made_again_under_the_same_authority(tmp_path: Path, lost: str) -> None:
    ca = ensure_certificates(tmp_path, [], NOW).ca.read_bytes()
    (tmp_path / lost).unlink()
    again = ensure_certificates(tmp_path, [], NOW)
    assert again.ca.read_bytes() == ca
    server_context(again)


@pytest.mark.parametrize("spoilt", ["ca.key", "issued.json"])
def test_a_spoilt_file_is_made_again(tmp_path: Path, spoilt: str) -> None:
    """A half-written disk must not keep the gateway from starting."""
    ensure_certificates(tmp_path, [], NOW)
    (tmp_path / spoilt).write_bytes(b"{")
    again = ensure_certificates(tmp_path, ["10.0.0.9"], NOW)
    leaf(again).verify_directly_issued_by(authority(again))


def test_a_killed_process_leaves_nothing_that_stays(tmp_path: Path) -> None:
    """What it had half written is cleared away by the next one."""
    tmp_path.joinpath(".server.pem.x1y2.tmp").write_bytes(b"half")
    ensure_certificates(tmp_path, [], NOW)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".lock", "ca.key", "ca.pem", "issued.json", "server.pem",
    ]  # fmt: skip


def test_private_keys_are_for_their_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    material = ensure_certificates(folder, [], NOW)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(material.key.stat().st_mode) == 0o600
    assert stat.S_IMODE((folder / "ca.key").stat().st_mode) == 0o600
    assert stat.S_IMODE(material.ca.stat().st_mode) == 0o644


def _ensure_and_read(folder: Path) -> tuple[bytes, bytes]:
    material = ensure_certificates(folder, [], NOW)
    return material.ca.read_bytes(), material.cert.read_bytes()


def test_processes_that_start_at_once_share_one_authority_and_one_certificate(
    tmp_path: Path,
) -> None:
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(4, mp_context=context) as pool:
        seen = set(pool.map(_ensure_and_read, [tmp_path / "tls"] * 4, timeout=50))
    assert len(seen) == 1


def test_a_warm_start_does_not_import_cryptography(tmp_path: Path) -> None:
    ensure_certificates(tmp_path, [], NOW)
    program = (
        "import datetime, pathlib, sys\n"
        "from gateway.tls.context import ensure_certificates, server_context\n"
        f"now = datetime.datetime.fromisoformat({NOW.isoformat()!r})\n"
        f"server_context(ensure_certificates(pathlib.Path({str(tmp_path)!r}), [], now))\n"
        "print('cryptography' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=50, check=True
    )
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize(
    ("hosts", "names"),
    [
        ([], ("localhost", "127.0.0.1", "::1")),
        (["0.0.0.0", "::", "[::]", ""], ("localhost", "127.0.0.1", "::1")),
        (["GPU-Box", "gpu-box", "localhost"], ("localhost", "127.0.0.1", "::1", "gpu-box")),
        (["[fd00::1]"], ("localhost", "127.0.0.1", "::1", "fd00::1")),
    ],
)
def test_the_names_of_a_certificate_are_the_loopback_ones_and_what_can_be_asked_for(
    hosts: Sequence[str], names: tuple[str, ...]
) -> None:
    assert leaf_names(hosts) == names


def test_a_host_that_is_no_name_is_refused_in_plain_words(tmp_path: Path) -> None:
    with pytest.raises(TlsError, match="'gpu box' is no host name"):
        ensure_certificates(tmp_path, ["gpu box"], NOW)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    blocked = tmp_path / "file" / "tls"
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(TlsError, match=r"cannot keep certificates in .*file/tls.*server\.data"):
        ensure_certificates(blocked, [], NOW)


def own_files(folder: Path, **changes: Path) -> TlsMaterial:
    material = ensure_certificates(folder / "own", [], NOW)
    paths = {"ca": material.ca, "cert": material.cert, "key": material.key, **changes}
    return TlsMaterial(ca=paths["ca"], cert=paths["cert"], key=paths["key"])


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "no.pem"
    with pytest.raises(TlsError, match=r"private key .*no\.pem does not exist; set server\.tls"):
        server_context(own_files(tmp_path, key=missing))


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(TlsError, match=r"certificate .* cannot be read"):
        server_context(own_files(tmp_path, cert=tmp_path))


def test_a_key_of_another_certificate_is_told_apart(tmp_path: Path) -> None:
    other = ensure_certificates(tmp_path / "other", [], NOW).key
    with pytest.raises(TlsError, match="does not belong to"):
        server_context(own_files(tmp_path, key=other))


def test_a_file_that_is_no_pem_is_told_apart(tmp_path: Path) -> None:
    garbage = tmp_path / "garbage.pem"
    garbage.write_bytes(b"not a certificate")
    with pytest.raises(TlsError, match="no usable pair"):
        server_context(own_files(tmp_path, cert=garbage))


def test_an_encrypted_key_is_refused_and_never_asked_for_on_the_terminal(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    encrypted = tmp_path / "encrypted.pem"
    encrypted.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    with pytest.raises(TlsError, match="is encrypted"):
        server_context(own_files(tmp_path, key=encrypted))
