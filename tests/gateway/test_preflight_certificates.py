"""What is said of certificates before anything is served."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from gateway.policy.reader import read_with_places
from gateway.preflight.listening import certificate_warnings
from gateway.tls.context import ensure_certificates
from gateway.tls.files import TlsMaterial
from tests.gateway.test_preflight import faults, policy_of

TODAY = datetime.datetime.now(datetime.UTC)


def own_files(cert: Path, key: Path, listen: str = "127.0.0.1:0") -> str:
    files = f'tls: {{cert: "{cert}", key: "{key}"}}'
    return f'server: {{{files}, listen: "{listen}", data: "{cert.parent}"}}'


def with_server(folder: Path, server: str) -> str:
    lines = policy_of(folder).splitlines()
    return "\n".join([lines[0], server, *lines[2:]]) + "\n"


@pytest.fixture
def made(tmp_path: Path) -> TlsMaterial:
    """A certificate for localhost alone."""
    return ensure_certificates(tmp_path / "made", ["127.0.0.1"], TODAY)


def test_tls_files_that_are_missing_or_of_no_use_are_refused_by_name(
    tmp_path: Path, made: TlsMaterial
) -> None:
    none, text = tmp_path / "none.pem", tmp_path / "text.pem"
    text.write_text("no PEM")
    assert faults(with_server(tmp_path, own_files(made.cert, made.key))) == []
    for cert, key, path in (
        (none, made.key, "server.tls.cert"),
        (made.cert, none, "server.tls.key"),
        (text, made.key, "server.tls"),
        (made.cert, text, "server.tls"),
        (made.ca, made.key, "server.tls"),
    ):
        [(line, where, _)] = faults(with_server(tmp_path, own_files(cert, key)))
        assert (line, where) == (2, path)


def test_a_certificate_that_was_made_and_is_broken_since_is_told(tmp_path: Path) -> None:
    made = ensure_certificates(tmp_path / "data" / "tls", ["127.0.0.1"], TODAY)
    text = policy_of(tmp_path).replace('tls: "off"', "tls: auto")
    assert faults(text) == []
    made.cert.write_text("broken")
    [(_, path, message)] = faults(text)
    assert path == "server.tls"
    assert "made anew" in message


def test_a_certificate_for_localhost_alone_on_a_public_address_is_warned_of(
    tmp_path: Path, made: TlsMaterial
) -> None:
    for listen, warned in (("127.0.0.1:1", False), ("0.0.0.0:1", True), ("203.0.113.7:1", True)):
        text = with_server(tmp_path, own_files(made.cert, made.key, listen))
        policy, places = read_with_places(text, {})
        said = certificate_warnings(policy, places)
        assert [(one.line, one.path) for one in said] == [(2, "server.listen")] * warned
    wide = ensure_certificates(tmp_path / "wide", ["gateway.example"], TODAY)
    policy, places = read_with_places(
        with_server(tmp_path, own_files(wide.cert, wide.key, "0.0.0.0:1")), {}
    )
    assert certificate_warnings(policy, places) == ()
