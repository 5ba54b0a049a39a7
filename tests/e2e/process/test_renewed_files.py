"""SIGHUP reads what the policy names too: certificates, authorities, secrets; and says so."""

from __future__ import annotations

import shutil
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.gateway.tls.test_renewal import ec_key, issue, rsa_key
from tests.live import LiveGateway
from tests.waiting import until


class Upstream(BaseHTTPRequestHandler):
    """Says which key it was asked with."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        key = self.headers["authorization"]
        body = f'{{"choices": [{{"text": ""}}], "key": "{key[-3:]}"}}'.encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.send_header("connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        self.send_error(404)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def upstream(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """Its URL, and the certificate that it shows."""
    folder = tmp_path / "upstream"
    folder.mkdir()
    material = issue(folder, "localhost", ec_key())
    server = ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(material.cert, material.key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"https://localhost:{server.server_port}", material.cert
    server.shutdown()
    thread.join()
    server.server_close()


def chat(gateway: LiveGateway) -> httpx.Response:
    with gateway.client() as client:
        body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
        return client.post("/v1/chat/completions", json=body)


def files_of(gateway: LiveGateway) -> list[dict[str, Any]]:
    with gateway.client(gateway.admin_key) as client:
        found: list[dict[str, Any]] = client.get("/admin/policy").json()["files"]
        return found


def shown_by(gateway: LiveGateway) -> str:
    return ssl.get_server_certificate(("127.0.0.1", gateway.port))


async def test_a_renewed_certificate_is_shown_after_sighup_and_a_broken_one_is_not(
    tmp_path: Path,
) -> None:
    """A connection that is open all the time goes on."""
    material = issue(tmp_path, "localhost", ec_key())
    config = "models: {}\n"
    server = {"tls": {"cert": str(material.cert), "key": str(material.key)}}
    gateway = LiveGateway(tmp_path, config, server=server)
    gateway.start(wait_for="")
    try:
        await until(lambda: "is listening" in gateway.log, "it listens")
        trust = ssl.create_default_context()
        trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
        with httpx.Client(
            base_url=f"https://127.0.0.1:{gateway.port}", verify=trust, trust_env=False
        ) as client:
            assert client.get("/healthz").status_code == 200
            first = shown_by(gateway)
            assert first.strip() == material.cert.read_text().strip()

            issue(tmp_path, "localhost", rsa_key())
            gateway.reload()
            await until(lambda: f"server.tls: read {material.cert}" in gateway.log, "it is read")
            second = shown_by(gateway)
            assert second.strip() == material.cert.read_text().strip() != first.strip()

            material.cert.write_text("half written")
            gateway.reload()
            await until(lambda: "what was read before stays in force" in gateway.log, "it is told")
            assert shown_by(gateway) == second
            assert client.get("/healthz").status_code == 200
    finally:
        assert gateway.stop() == 0


async def test_authorities_and_secrets_are_read_again_and_told(
    tmp_path: Path, upstream: tuple[str, Path]
) -> None:
    url, certificate = upstream
    stranger = tmp_path / "stranger"
    stranger.mkdir()
    ca, key = tmp_path / "ca.pem", tmp_path / "key"
    shutil.copy(issue(stranger, "localhost", ec_key()).cert, ca)
    key.write_text("sk-test-one\n")
    config = (
        f'backends: {{b: {{kind: openai, base_url: "{url}", ca_file: "{ca}", '
        'api_key: "${UPSTREAM_KEY}"}}\nmodels: {m: {task: chat, backends: [b]}}\n'
    )
    env = {"UPSTREAM_KEY_FILE": str(key)}
    with LiveGateway(tmp_path, config, env=env) as gateway:
        assert files_of(gateway) == []
        assert chat(gateway).status_code >= 500, "nobody has vouched for it"

        shutil.copy(certificate, ca)
        gateway.reload()
        await until(lambda: bool(files_of(gateway)), "the files are read")
        await until(lambda: chat(gateway).status_code == 200, "it is trusted")
        assert chat(gateway).json()["key"] == "one"
        assert files_of(gateway) == [
            {"what": "the secret UPSTREAM_KEY", "file": str(key)},
            {"what": "backends.b.ca_file", "file": str(ca)},
        ]

        key.write_text("sk-test-two\n")
        gateway.reload()
        await until(lambda: chat(gateway).json().get("key") == "two", "the new key is sent")

        ca.write_text("half written")
        gateway.reload()
        await until(lambda: "stays in force" in gateway.log, "what is of no use is told")
        assert files_of(gateway)[1]["error"].startswith(f"{ca} is of no use")
        assert chat(gateway).status_code == 200
        assert "sk-test" not in gateway.log
