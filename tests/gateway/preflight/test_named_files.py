"""Files that a policy names and that are none: said in their place before anything is served."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.app import backend_maker
from gateway.clock import FakeClock
from gateway.policy.reader import read_with_places
from gateway.policy.syntax.problems import PolicyError
from gateway.preflight.startable import check_startable

POLICY = """
version: 1
server: {{data: "{folder}", listen: "127.0.0.1:1", tls: {tls}, otel: {otel}}}
store: {{shared: "{shared}"}}
backends:
  b: {{kind: openai, base_url: "https://127.0.0.1:1"{backend}}}
models: {{m: {{task: chat, backends: [b]}}}}
webhooks: {webhooks}
"""
PLAIN = {
    "tls": '"off"',
    "otel": "null",
    "shared": "memory://",
    "backend": "",
    "webhooks": "{}",
}
SECRET = "whsec_" + "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz"
NAMED = {
    "server.tls.cert": ("tls", "{{cert: {file}, key: {file}}}"),
    "server.otel.ca_file": ("otel", '{{endpoint: "https://127.0.0.1:1", ca_file: {file}}}'),
    "store.shared": ("shared", "rediss://127.0.0.1:1?ca_file={file}"),
    "backends.b.ca_file": ("backend", ", ca_file: {file}"),
    "backends.b.client_cert": ("backend", ", client_cert: {file}"),
    "webhooks.jobs.ca_file": ("webhooks", '{{jobs: {{secret: "${{HOOK}}", ca_file: {file}}}}}'),
    "webhooks.endpoints.e.ca_file": (
        "webhooks",
        '{{endpoints: {{e: {{url: "https://a.example", secret: "${{HOOK}}", events: [keys], '
        "ca_file: {file}}}}}}}",
    ),
}


def huge(file: Path) -> None:
    file.touch()
    os.truncate(file, 2**40)


SPOILT: dict[str, Callable[[Path], object]] = {
    "a pipe": os.mkfifo,
    "a device": lambda file: file.symlink_to("/dev/zero"),
    "huge": huge,
}


@pytest.mark.parametrize("spoilt", SPOILT)
@pytest.mark.parametrize("place", NAMED)
def test_each_is_said_in_its_place(
    place: str, spoilt: str, tmp_path: Path, clock: FakeClock
) -> None:
    file = tmp_path / "named.pem"
    SPOILT[spoilt](file)
    key, value = NAMED[place]
    given = {**PLAIN, key: value.format(file=file)}
    text = POLICY.format(folder=tmp_path / "data", **given)
    policy, places = read_with_places(text, {"HOOK": SECRET})
    with pytest.raises(PolicyError) as caught:
        check_startable(policy, places, backend_maker(clock), installed=lambda _: True)
    [problem] = [one for one in caught.value.problems if str(file) in one.message]
    assert problem.path == place
    assert "no regular file" in problem.message or "larger than 16 MiB" in problem.message
    assert problem.line > 1
