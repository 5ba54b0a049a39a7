"""A file that the policy names and that is of no use when SIGHUP comes: what was read before stays
in force, it is said of which file and why, and the next SIGHUP takes the mended one."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from gateway.app import from_path
from gateway.cli.serving.server import certificate_of
from gateway.log_lines import LineWriter
from gateway.service import Gateway
from gateway.tls.renewal import ServerCertificate
from tests.gateway.tls.test_renewal import Handshake, ec_key, issue

Spoil = Callable[[Path], object]


def _made_a_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def _halved(file: Path) -> None:
    data = file.read_bytes()
    file.write_bytes(data[: len(data) // 2])


def _hidden(file: Path) -> None:
    file.chmod(0)
    if os.geteuid() == 0:
        pytest.skip("root reads everything")


def _linked_to_nothing(file: Path) -> None:
    file.unlink()
    file.symlink_to("nowhere")


def _made_a_pipe(file: Path) -> None:
    """Which nobody writes to: who opens it waits for ever."""
    file.unlink()
    os.mkfifo(file)


def _linked_to_a_device(file: Path) -> None:
    """Which has no end."""
    file.unlink()
    file.symlink_to("/dev/zero")


def _made_huge(file: Path) -> None:
    os.truncate(file, 2**40)


SPOILT: dict[str, Spoil] = {
    "pipe": _made_a_pipe,
    "device": _linked_to_a_device,
    "huge": _made_huge,
    "missing": lambda file: file.unlink(),
    "empty": lambda file: file.write_bytes(b""),
    "half": _halved,
    "folder": _made_a_folder,
    "bytes": lambda file: file.write_bytes(b"\xff\x00\xfe" * 40),
    "hidden": _hidden,
    "dangling": _linked_to_nothing,
}
FILES = ("tls.crt", "tls.key", "ca.pem", "client.crt", "client.key")
SAID_AT = {
    "tls.crt": "server.tls",
    "tls.key": "server.tls",
    "ca.pem": "backends.b.ca_file",
    "client.crt": "backends.b.client_cert",
    "client.key": "backends.b.client_cert",
}
POLICY = """
version: 1
server: {{data: "{folder}/data", tls: {{cert: "{folder}/tls.crt", key: "{folder}/tls.key"}}}}
backends:
  b: {{kind: openai, base_url: "https://127.0.0.1:9", engine: none, ca_file: "{folder}/ca.pem",
      client_cert: "{folder}/client.crt", client_key: "{folder}/client.key",
      api_key: "${{SECRET}}"}}
models: {{m: {{task: chat, backends: [b]}}}}
store: {{ledger: "sqlite:///{folder}/ledger.db"}}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, cert, key in (("one", "tls.crt", "tls.key"), ("two", "client.crt", "client.key")):
        (tmp_path / name).mkdir()
        made = issue(tmp_path / name, f"{name}.example", ec_key())
        shutil.copy(made.cert, tmp_path / cert)
        shutil.copy(made.key, tmp_path / key)
    shutil.copy(tmp_path / "tls.crt", tmp_path / "ca.pem")
    (tmp_path / "secret").write_text("sk-first\n")
    (tmp_path / "policy.yaml").write_text(POLICY.format(folder=tmp_path))
    monkeypatch.setenv("SECRET_FILE", str(tmp_path / "secret"))
    return tmp_path


@contextlib.asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[tuple[Gateway, ServerCertificate]]:
    with open(os.devnull, "wb", buffering=0) as nowhere:
        gateway = from_path(folder / "policy.yaml", LineWriter(nowhere))
        certificate = certificate_of(gateway)
        assert certificate is not None
        try:
            yield gateway, certificate
        finally:
            await gateway.aclose()


def key_of(gateway: Gateway) -> str:
    return gateway.active.backends["b"].spec.settings.api_key.reveal()  # type: ignore[no-any-return]


@pytest.mark.parametrize("how", SPOILT)
async def test_what_was_read_before_stays_in_force(how: str, folder: Path) -> None:
    async with opened(folder) as (gateway, certificate):
        shown, version = shown_by(certificate), gateway.active.policy.version
        for name in FILES:
            file = folder / name
            kept = file.read_bytes()
            SPOILT[how](file)
            await gateway.reload()
            assert gateway.active.policy.version == version
            assert shown_by(certificate) == shown
            faults = {one.what: one.error for one in gateway.files if one.error}
            assert str(file) in faults[SAID_AT[name]], faults
            assert all(str(file) in told for told in faults.values()), faults
            _mend(file, kept)
            await gateway.reload()
            assert not [one.error for one in gateway.files if one.error]


def shown_by(certificate: ServerCertificate) -> str:
    return Handshake(certificate.context, None).shown


def _mend(file: Path, data: bytes) -> None:
    shutil.rmtree(file) if file.is_dir() else file.unlink(missing_ok=True)
    file.write_bytes(data)


@pytest.mark.parametrize("key", ["tls.key", "client.key"])
async def test_a_key_of_another_certificate_is_refused(key: str, folder: Path) -> None:
    async with opened(folder) as (gateway, certificate):
        other = "client.key" if key == "tls.key" else "tls.key"
        shutil.copy(folder / other, folder / key)
        await gateway.reload()
        [fault] = [one for one in gateway.files if one.error]
        assert fault.what == SAID_AT[key]
        assert shown_by(certificate) == "one.example"


@pytest.mark.parametrize("how", [one for one in SPOILT if one not in ("half", "bytes")])
async def test_a_secret_that_cannot_be_read_changes_nothing(how: str, folder: Path) -> None:
    """The next one that can be is taken."""
    async with opened(folder) as (gateway, _):
        SPOILT[how](folder / "secret")
        await gateway.reload()
        refused = gateway.refused
        assert refused is not None
        assert "SECRET" in " ".join(refused.problems)
        assert key_of(gateway) == "sk-first"
        _mend(folder / "secret", b"sk-second\n")
        await gateway.reload()
        assert gateway.refused is not refused
        assert key_of(gateway) == "sk-second"
