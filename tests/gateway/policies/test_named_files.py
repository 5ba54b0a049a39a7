"""A backend's files are read again as they are now, each told by its setting."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.errors import BackendError
from adapters.openai.backend import OpenAISettings
from adapters.trust import ClientCertificate, trust_context
from gateway.clock import FakeClock
from gateway.named_files import read_backend_files
from gateway.policy.model import Policy
from gateway.policy.reader import read_policy_text
from tests.adapters.tunnel.test_tunnel import secured, status_of
from tests.private_authority import issue


def policy_of(folder: Path, authority: bool) -> Policy:
    ca_file = f'ca_file: "{folder}/ca.pem", ' if authority else ""
    shown = f'client_cert: "{folder}/cert.pem", client_key: "{folder}/key.pem"'
    where = "kind: openai, base_url: https://api.example"
    return read_policy_text(
        f"version: 1\nbackends: {{b: {{{where}, {ca_file}{shown}}}}}\n"
        "models: {m: {task: chat, backends: [b]}}\n",
        {},
    )


def files_of(folder: Path, authority: bool) -> tuple[str | None, ClientCertificate]:
    shown = ClientCertificate(f"{folder}/cert.pem", f"{folder}/key.pem")
    return (f"{folder}/ca.pem" if authority else None), shown


@pytest.mark.parametrize("authority", [True, False])
def test_a_renewed_certificate_is_read_with_and_without_an_authority(
    authority: bool, tmp_path: Path
) -> None:
    issue(tmp_path)
    policy, files = policy_of(tmp_path, authority), files_of(tmp_path, authority)
    before = trust_context(*files)

    issue(tmp_path)
    found = {one.what: one.error for one in read_backend_files(policy)}

    assert trust_context(*files) is not before
    told = ["backends.b.ca_file"] * authority + ["backends.b.client_cert"]
    assert found == dict.fromkeys(told, "")


@pytest.mark.parametrize("authority", [True, False])
@pytest.mark.parametrize("spoilt", ["cert.pem", "key.pem"])
def test_one_that_is_of_no_use_is_told_and_the_old_one_stays(
    authority: bool, spoilt: str, tmp_path: Path
) -> None:
    issue(tmp_path)
    policy, files = policy_of(tmp_path, authority), files_of(tmp_path, authority)
    before = trust_context(*files)

    (tmp_path / spoilt).write_text("half written")
    found = {one.what: one.error for one in read_backend_files(policy)}

    assert trust_context(*files) is before
    assert f"{tmp_path}/cert.pem with {tmp_path}/key.pem is of no use" in found.pop(
        "backends.b.client_cert"
    )
    assert set(found.values()) <= {""}


def test_a_backends_settings_are_judged_by_the_files_as_they_are_now(tmp_path: Path) -> None:
    issue(tmp_path)
    trust_context(*files_of(tmp_path, authority=False))
    settings = OpenAISettings(
        base_url="https://api.example",
        client_cert=f"{tmp_path}/cert.pem",
        client_key=f"{tmp_path}/key.pem",
    )
    assert settings.missing() == []

    (tmp_path / "cert.pem").write_text("half written")

    assert [fault.keys for fault in settings.missing()] == [("client_cert",)]


async def test_the_server_is_shown_the_new_one(tmp_path: Path, clock: FakeClock) -> None:
    ours = tmp_path / "ours"
    async with secured(tmp_path / "theirs", asks=True) as (url, theirs):
        issue(ours)  # by an authority that the server does not know
        (ours / "ca.pem").write_bytes((theirs / "ca.pem").read_bytes())
        ca_file, shown = files_of(ours, authority=True)
        with pytest.raises(BackendError):
            await status_of(url, clock, ca_file=ca_file, certificate=shown)

        for name in ("cert.pem", "key.pem"):
            (ours / name).write_bytes((theirs / name).read_bytes())
        assert [one.error for one in read_backend_files(policy_of(ours, authority=True))] == [
            "",
            "",
        ]

        assert await status_of(url, clock, ca_file=ca_file, certificate=shown) == 200
