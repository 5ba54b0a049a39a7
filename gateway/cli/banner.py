"""What ``spillgate serve`` tells a newcomer: keys, CA, and lines that work when pasted."""

from __future__ import annotations

import datetime
import logging
from pathlib import Path

import msgspec

from gateway.clock import Clock
from gateway.key_requests import issue, read_request
from gateway.log_lines import LineWriter
from gateway.policy.model import Policy
from gateway.policy.warnings import warnings_of
from gateway.preflight import exposed_files
from gateway.storage.audit import Act
from gateway.storage.key_store import KeyStore
from gateway.tls.files import TlsMaterial

log = logging.getLogger("spillgate")


class FirstKeys(msgspec.Struct, frozen=True):
    """The keys themselves, shown this once."""

    admin: str
    user: str


def first_keys(keys: KeyStore, policy: Policy, now_at: float) -> FirstKeys | None:
    """An admin's and a user's key where no key exists yet; only their hashes are stored."""
    if keys.list():
        return None
    act = Act(at=now_at, actor="gateway", act="key.create")
    admin, _ = issue(keys, read_request({"user": "admin", "admin": True}, policy), now_at, act)
    user, _ = issue(keys, read_request({"user": "me"}, policy), now_at, act)
    return FirstKeys(admin, user)


def announce(
    policy: Policy, keys: KeyStore, material: TlsMaterial | None, out: LineWriter, clock: Clock
) -> None:
    """What a newcomer reads, with the keys of a first start; and what the policy is warned of."""
    today = datetime.datetime.now(datetime.UTC).date()
    for warning in (*warnings_of(policy, today=today), *exposed_files(policy, {})):
        log.warning("policy: %s", warning)
    text = banner(policy, material, first_keys(keys, policy, clock.time())) + "\n"
    out.put(text.count("\n"), text.encode)


def banner(policy: Policy, material: TlsMaterial | None, keys: FirstKeys | None) -> str:
    """Plain text; the curl line, and the snippet from one end to the other, can be pasted."""
    host, port = policy.server.listen
    scheme = "http" if material is None else "https"
    name = "127.0.0.1" if host in ("0.0.0.0", "::") else host
    base = f"{scheme}://{f'[{name}]' if ':' in name else name}:{port}"
    ca = None if material is None or material.ca == material.cert else material.ca.resolve()
    key = keys.user if keys is not None else "$SPILLGATE_KEY"
    parts = [f"Spillgate is listening on {base}", _keys(keys), _trust(ca)]
    model = next((name for name, spec in policy.models.items() if spec.task == "embeddings"), None)
    if model is not None:
        parts += [_curl(base, ca, key, model), _snippet(base, ca, keys, model)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _keys(keys: FirstKeys | None) -> str:
    if keys is None:
        return (
            "Keys were shown when they were made. To make another:\n"
            "  spillgate keys create --config PATH --user NAME"
        )
    return (
        "Two keys were made. They are stored as hashes, so they are shown only now:\n"
        f"  admin key  {keys.admin}\n"
        f"  user key   {keys.user}"
    )


def _trust(ca: Path | None) -> str:
    return "" if ca is None else f"Clients trust it by this certificate authority:\n  CA  {ca}"


def _curl(base: str, ca: Path | None, key: str, model: str) -> str:
    trust = "" if ca is None else f" --cacert '{ca}'"
    body = f'{{"model": "{model}", "input": "a warm GPU"}}'
    return (
        "Ask it with curl:\n"
        f'  curl -sS{trust} {base}/v1/embeddings -H "Authorization: Bearer {key}" '
        f"-H 'Content-Type: application/json' -d '{body}'"
    )


def _snippet(base: str, ca: Path | None, keys: FirstKeys | None, model: str) -> str:
    key = 'os.environ["SPILLGATE_KEY"]' if keys is None else f'"{keys.user}"'
    lines = [
        *(["import os"] if keys is None or ca is not None else []),
        *([f'os.environ["SSL_CERT_FILE"] = "{ca}"'] if ca is not None else []),
        "from openai import OpenAI",
        f'client = OpenAI(base_url="{base}/v1", api_key={key})',
        f'answer = client.embeddings.create(model="{model}", input="a warm GPU")',
        "print(len(answer.data[0].embedding), answer.usage)",
    ]
    title = "Or with the openai client in Python (pip install openai):"
    # Python takes no line that is indented for nothing: what is pasted begins where lines begin.
    return "\n".join([title, "", *lines])
