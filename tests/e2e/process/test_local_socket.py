"""The gateway's own user reaches it by a Unix socket without a key, and nobody else does."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.live import ROOT, SPILLGATE, LiveGateway
from tests.waiting import wait_until

POLICY = """
backends:
  burst: {kind: openai, base_url: "http://127.0.0.1:1"}
models: {m: {task: chat, backends: [burst]}}
plans: {default: {requests: 60/minute}}
"""
NOBODY = 65534


@pytest.fixture(scope="module", params=[1, 2], ids=["one process", "two processes"])
def gateway(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LiveGateway]:
    # A path that no sun_path would hold, for the socket has to be reached in such a one too.
    folder = tmp_path_factory.mktemp("a" * 120)
    with LiveGateway(folder, POLICY, tls=True, workers=request.param) as live:
        yield live


def run(gateway: LiveGateway, *arguments: str, status: int = 0) -> str:
    config = str(gateway.config)
    done = subprocess.run(
        [str(SPILLGATE), *arguments, "--config", config],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == status, done.stderr + done.stdout
    return done.stdout + done.stderr


def told(gateway: LiveGateway, *arguments: str) -> Any:
    return json.loads(run(gateway, *arguments, "--json"))


def owner(gateway: LiveGateway, **headers: str) -> httpx.Client:
    """A client by the socket, whose path is short enough only from its folder."""
    descriptor = os.open(gateway.data, os.O_PATH)
    transport = httpx.HTTPTransport(uds=f"/proc/self/fd/{descriptor}/gateway.sock")
    return httpx.Client(transport=transport, base_url="http://spillgate", headers=headers)


def test_commands_need_no_key_and_no_authority(gateway: LiveGateway) -> None:
    found = told(gateway, "status")
    assert found["ready"]["status"] == "ready"
    assert [one["backend"] for one in found["backends"]] == ["burst"]
    assert "burst" in run(gateway, "status")
    assert told(gateway, "calls")["data"] == []


def test_what_the_owner_does_stands_in_the_audit_log_by_name(gateway: LiveGateway) -> None:
    assert "no more calls" in run(gateway, "backends", "drain", "burst")
    [burst] = told(gateway, "backends", "list")["backends"]
    assert burst["blocked"] == "drained"
    assert "sent calls" in run(gateway, "backends", "enable", "burst")
    acts = told(gateway, "audit", "--act", "backend.drain")["data"]
    assert {one["actor"].partition(":")[0] for one in acts} == {"os"}


def test_what_is_not_there_is_told(gateway: LiveGateway) -> None:
    assert "nope" in run(gateway, "backends", "drain", "nope", status=2)
    run(gateway, "calls", "req_000", status=1)


def test_a_call_without_a_key_is_refused_and_one_with_a_key_is_that_keys(
    gateway: LiveGateway,
) -> None:
    """Nothing would limit what the owner spends."""
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
    with owner(gateway) as client:
        refused = client.post("/v1/chat/completions", json=body)
        assert (refused.status_code, refused.json()["error"]["code"]) == (401, "missing_api_key")
    with owner(gateway, authorization=f"Bearer {gateway.user_key}") as client:
        assert client.get("/v1/me").json()["user"] == "alice"
        assert client.get("/admin/keys").status_code == 403
    with owner(gateway, authorization="Bearer sg-wrong") as client:
        assert client.get("/admin/keys").status_code == 401
    for name in ("x-api-key", "api-key"):
        with owner(gateway, **{name: gateway.user_key}) as client:
            assert client.get("/admin/keys").status_code == 403


def test_only_the_owner_may_open_it(gateway: LiveGateway) -> None:
    assert (gateway.data / "gateway.sock").stat().st_mode & 0o777 == 0o600


def test_by_a_url_an_admins_key_is_asked_for(gateway: LiveGateway) -> None:
    where = ("--url", gateway.url, "--ca", str(gateway.ca))
    assert "SPILLGATE_ADMIN_KEY" in run(gateway, "status", *where, status=2)
    assert "ready" in run(gateway, "status", *where, "--key", gateway.admin_key)
    assert "CERTIFICATE" in run(
        gateway, "status", "--url", gateway.url, "--key", gateway.admin_key, status=2
    )


AS_NOBODY = """
import os, socket, sys
os.setuid(int(sys.argv[2]))
asking = socket.socket(socket.AF_UNIX)
asking.connect(sys.argv[1])
try:
    asking.sendall(b"GET /admin/keys HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
    print(len(asking.recv(100)))
except OSError:
    print(0)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_the_system_says_who_comes_whatever_the_files_mode_is() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with LiveGateway(folder, POLICY) as gateway:
            path = gateway.data / "gateway.sock"
            for each in (folder, gateway.data):
                each.chmod(0o755)
            path.chmod(0o666)
            done = subprocess.run(
                [sys.executable, "-c", AS_NOBODY, str(path), str(NOBODY)],
                capture_output=True,
                text=True,
                timeout=60,
            )
            assert done.stdout == "0\n", done.stderr
            closed = f"of the user {NOBODY} by the local socket is closed"
            wait_until(lambda: closed in gateway.log)
            assert told(gateway, "status")["ready"]["status"] == "ready"


def test_a_policy_is_compared_applied_and_taken_back(tmp_path: Path) -> None:
    with LiveGateway(tmp_path, POLICY) as gateway:
        before = told(gateway, "policy", "show")["policy"]
        new = tmp_path / "new.yaml"
        new.write_text(gateway.config.read_text().replace("60/minute", "90/minute"))
        assert "the same" in run(gateway, "policy", "diff", str(gateway.config))
        assert "+" in run(gateway, "policy", "diff", str(new), status=1)
        assert "in force" in run(gateway, "policy", "apply", str(new), "--expected", before)
        run(gateway, "policy", "apply", str(new), "--expected", before, status=2)
        after = told(gateway, "policy", "show")["policy"]
        assert "90/minute" in run(gateway, "policy", "show", "--yaml")
        assert {before, after} <= {
            one["policy"] for one in told(gateway, "policy", "history")["data"]
        }
        assert after in run(gateway, "policy", "history")
        run(gateway, "policy", "rollback")
        assert told(gateway, "policy", "show")["policy"] == before
        run(gateway, "policy", "rollback", after)
        assert told(gateway, "policy", "show")["policy"] == after
        run(gateway, "policy", "rollback", "000000000000", status=2)
        assert run(gateway, "policy", "history").count("in force") == 1, "the newest that says so"
        assert "90/minute" in run(gateway, "policy", "diff", status=1), "of the gateway's own file"


def test_whose_environment_lacks_a_secret_is_said(tmp_path: Path) -> None:
    with LiveGateway(tmp_path, POLICY) as gateway:
        new = tmp_path / "new.yaml"
        secret = '\nwebhooks: {jobs: {secret: "${SET_NOWHERE}"}}\n'
        new.write_text(gateway.config.read_text() + secret)
        said = run(gateway, "policy", "apply", str(new), status=2)
        assert f"{new}:" in said
        assert "SET_NOWHERE is not set in the gateway, which was started without it" in said
        new.write_text(gateway.config.read_text().replace("data:", "drain: 7s\n  data:"))
        assert "server.drain differs" in run(gateway, "policy", "apply", str(new), status=2)


def test_a_gateway_that_was_killed_leaves_no_socket_in_the_way(tmp_path: Path) -> None:
    gateway = LiveGateway(tmp_path, POLICY)
    with gateway:
        gateway.kill()
        assert "no gateway answers" in run(gateway, "status", status=2)
        gateway.start()
        assert told(gateway, "status")["ready"]["status"] == "ready"
        gateway.stop()
        assert not (gateway.data / "gateway.sock").exists()
        assert "no gateway runs" in run(gateway, "status", status=2)


def test_top_ends_by_ctrl_c(tmp_path: Path) -> None:
    with LiveGateway(tmp_path, POLICY) as gateway:
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            [str(SPILLGATE), "top", "--every", "0.1", "--config", str(gateway.config)],
            stdin=theirs,
            stdout=theirs,
            stderr=subprocess.PIPE,
            env={**os.environ, "TERM": "xterm"},
        )
        os.close(theirs)
        seen = b""

        def sees_burst() -> bool:
            nonlocal seen
            seen += os.read(ours, 65536)
            return b"burst" in seen

        wait_until(sees_burst)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=60)
        os.close(ours)
        assert (process.returncode, error) == (0, b"")
