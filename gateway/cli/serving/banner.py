"""What ``spillgate serve`` tells a newcomer: keys, CA, and lines that work when pasted."""

from __future__ import annotations

import datetime
import logging
import sys
from pathlib import Path
from typing import Any

import msgspec

from gateway.api.middleware import CONSOLE
from gateway.cli.serving.first_call import first_call
from gateway.clock import Clock
from gateway.key_requests import issue, read_request
from gateway.keys.limited import unlimited
from gateway.log_lines import LineWriter
from gateway.policy.model import Policy
from gateway.policy.warnings.every import warnings_of
from gateway.preflight.startable import exposed_files
from gateway.storage.audit import Act
from gateway.storage.key_store import KeyStore
from gateway.tls.files import TlsMaterial
from gateway.types import ApiError

log = logging.getLogger("spillgate")

_COMMAND = "spillgate"
_PROGRAM = Path(sys.argv[0]).absolute()
"""Where it was started: later on relative paths begin in the policy's home."""
_NAMED = 20
"""Keys that one line of the log names."""


class FirstKeys(msgspec.Struct, frozen=True):
    """The keys themselves, shown this once; None: nothing would have limited a user's key."""

    admin: str
    user: str | None


_WITHOUT_CALLS = [
    "/admin/*",
    "/dashboard",
    "/dashboard/*",
    "/usage",
    "/usage/*",
    "/v1/route/explain",
]


def first_keys(keys: KeyStore, policy: Policy, now_at: float) -> FirstKeys | None:
    """An admin's and a user's key where no key exists yet; only their hashes are stored. Where the
    policy would limit neither of them, the admin's makes no calls, and there is no user's."""
    if keys.list():
        return None
    admin = _first_key(keys, {"user": "admin", "admin": True}, policy, now_at)
    if admin is None:
        bound = {"user": "admin", "admin": True, "paths": _WITHOUT_CALLS}
        admin = _first_key(keys, bound, policy, now_at)
    assert admin is not None
    return FirstKeys(admin, _first_key(keys, {"user": "me"}, policy, now_at))


def _first_key(keys: KeyStore, asked: dict[str, Any], policy: Policy, now_at: float) -> str | None:
    """None where nothing would limit it, and the policy does not allow that."""
    try:
        request = read_request(asked, policy)
    except ApiError:
        return None
    act = Act(at=now_at, actor="gateway", act="key.create")
    return issue(keys, request, now_at, act)[0]


def announce(
    policy: Policy,
    keys: KeyStore,
    material: TlsMaterial | None,
    out: LineWriter,
    clock: Clock,
    config: Path,
) -> None:
    """What a newcomer reads, with the keys of a first start; and what the policy is warned of."""
    today = datetime.datetime.now(datetime.UTC).date()
    for warning in (*warnings_of(policy, today=today), *exposed_files(policy, {})):
        log.warning("policy: %s", str(warning).removeprefix("policy: "))
    warn_of_unlimited(keys, policy, clock.time())
    text = banner(policy, material, first_keys(keys, policy, clock.time()), config) + "\n"
    out.put(text.count("\n"), text.encode)


def warn_of_unlimited(keys: KeyStore, policy: Policy, now_at: float) -> None:
    """Names the keys that were made before there was a rule against them, or under one that allows
    them."""
    names = [record.principal.key_id for record in unlimited(keys.list(), policy, now_at)]
    if names:
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        log.warning(
            "nothing limits what %s may spend: %s%s; put them under limits.keys or "
            "limits.users, or make others",
            "1 key" if len(names) == 1 else f"{len(names)} keys",
            ", ".join(names[:_NAMED]),
            more,
        )


def banner(
    policy: Policy, material: TlsMaterial | None, keys: FirstKeys | None, config: Path
) -> str:
    """Plain text; the curl line, and the snippet from one end to the other, can be pasted."""
    host, port = policy.server.listen
    scheme = "http" if material is None else "https"
    name = "127.0.0.1" if host in ("0.0.0.0", "::") else host
    base = f"{scheme}://{f'[{name}]' if ':' in name else name}:{port}"
    ca = None if material is None or material.ca == material.cert else material.ca.resolve()
    key = None if keys is None else keys.user
    head = f"Spillgate is listening on {base}\n{_where(policy, base, config)}"
    parts = [head, _keys(keys, config), _trust(ca), *first_call(policy, base, ca, key)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _where(policy: Policy, base: str, config: Path) -> str:
    """What is served, and where everything is."""
    program = _PROGRAM.resolve() if _PROGRAM.name == _COMMAND else _COMMAND
    models = (f"{name} ({spec.task})" for name, spec in policy.models.items())
    told = {
        "models": ", ".join(models) or "none",
        "policy": f"{config.resolve()} ({policy.version})",
        "data": Path(policy.server.data).resolve(),
        "console": f"{base}{CONSOLE}",
        "docs": f"{base}/docs",
        "command": f"{program} status --config '{config.resolve()}'",
    }
    return "\n".join(f"  {name:<8} {value}" for name, value in told.items())


def _keys(keys: FirstKeys | None, config: Path) -> str:
    if keys is None:
        return (
            "Keys were shown when they were made. To make another:\n"
            f"  spillgate keys create --config '{config}' --user NAME"
        )
    if keys.user is None:
        return (
            "An admin's key was made, which makes no calls. It is stored as a hash, so it is shown "
            f"only now:\n  admin key  {keys.admin}\n"
            "No user's key was made, for nothing would limit it: give the policy a plan called "
            f"default, then\n  spillgate keys create --config '{config}' --user NAME"
        )
    return (
        "Two keys were made. They are stored as hashes, so they are shown only now:\n"
        f"  admin key  {keys.admin}\n"
        f"  user key   {keys.user}"
    )


def _trust(ca: Path | None) -> str:
    return "" if ca is None else f"Clients trust it by this certificate authority:\n  CA  {ca}"
