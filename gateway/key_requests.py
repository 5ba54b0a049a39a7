"""Making keys: what a request for one may say, for the command line and for /admin alike."""

from __future__ import annotations

import os
import re
from typing import Any

import msgspec

from adapters.settings import parse_duration
from gateway.api_keys import generate_key
from gateway.keys.delegation import Delegation
from gateway.keys.limited import check_limited, check_team_limited
from gateway.keys.permitted import read_permitted
from gateway.money.text import iso, iso_or_none, usd
from gateway.policy.model import Policy
from gateway.policy.sections.limits import parse_limit
from gateway.storage.audit import Act
from gateway.storage.key_records import KeyRecord
from gateway.storage.key_store import KeyStore
from gateway.types import (
    MICRO,
    NANO,
    OWN_TAGS,
    ApiError,
    Limit,
    Permitted,
    Principal,
    Role,
    Unit,
    in_json_words,
)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+/:-]{0,127}\Z")
_REPORTED = re.compile(r"[\w.:/-]{1,64}\Z")
"""Tags by which usage can be told."""
_OURS = "system:"
"""Accounts to which the gateway charges what it does by itself, such as its pings."""
_LIMITS: dict[str, Unit] = {
    "requests": "requests",
    "gpu_seconds": "gpu_us",
    "tokens": "tokens",
    "input_tokens": "input_tokens",
    "output_tokens": "output_tokens",
    "spend": "nano_usd",
}
_NAMES: dict[Unit, str] = {unit: name for name, unit in _LIMITS.items()} | {"calls": "requests"}
_EXAMPLES = {"requests": "60/minute", "gpu_seconds": "600/day", "spend": "5 USD/month"}
_EXAMPLE = "1000000/day"


class KeyRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A key that may be made: for whom, and for how many seconds (None: until it is revoked)."""

    principal: Principal
    lasts_s: float | None = None
    not_after: float | None = None
    """When it ends at the latest, in seconds since the epoch."""

    def ends_at(self, now_at: float) -> float | None:
        """Of a key that is made at ``now_at``; None: never."""
        return self.not_after if self.lasts_s is None else now_at + self.lasts_s


class _Asked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    user: str
    plan: str | None = None
    admin: bool = False
    delegate: bool = False
    tags: dict[str, str] = {}
    limits: dict[str, Any] = {}
    models: list[str] | None = None
    paths: list[str] | None = None
    addresses: list[str] | None = None
    expires_in: str | None = None


def read_request(value: Any, policy: Policy, delegation: Delegation | None = None) -> KeyRequest:
    """A JSON object -> a request for a key. Raises ApiError 400 naming the field at fault, and for
    a key that nothing would limit, where the policy does not allow such.

    Fields: ``user``; ``plan`` (left out: ``default``, where the policy has one), ``admin`` or
    ``delegate``, ``tags``, ``limits`` such as {"spend": "1 USD/day", "concurrent": 2}, of which a
    list gives several windows, ``expires_in`` ("30d"); ``models``, ``paths`` and ``addresses`` that
    it is bound to (left out: to none). Of what a delegate's request leaves out, the key gets what
    the delegate's own has.
    """
    try:
        asked = msgspec.convert(value, _Asked)
    except msgspec.ValidationError as error:
        raise _invalid(in_json_words(str(error)), None) from None
    if delegation is not None:
        asked = _filled(asked, delegation, policy)
    _check_name("user", asked.user)
    if asked.user.lower().startswith(_OURS):
        raise _invalid(f"users that begin with {_OURS} are the gateway's own", "user")
    for name, tag in asked.tags.items():
        _check_name("tags", name)
        _check_name("tags", tag)
        if name in OWN_TAGS:
            raise _invalid(f"the tag {name} is the gateway's own: no key may have it", "tags")
    known = (*policy.models, *policy.aliases)
    principal = Principal(
        key_id=f"key_{os.urandom(6).hex()}",
        user=asked.user,
        plan=_plan(asked.plan, policy),
        role=_role(asked),
        tags=asked.tags,
        limits=tuple(one for name, value in asked.limits.items() for one in _limits(name, value)),
        permitted=read_permitted(asked.models, asked.paths, asked.addresses, known),
    )
    check_limited(principal, policy)
    check_team_limited(principal, policy)
    ends_at = None if delegation is None else delegation.ends_at
    return KeyRequest(principal=principal, lasts_s=_lasts(asked.expires_in), not_after=ends_at)


def _filled(asked: _Asked, delegation: Delegation, policy: Policy) -> _Asked:
    by = delegation.by
    bound = by.permitted or Permitted()
    return msgspec.structs.replace(
        asked,
        plan=by.plan or None if asked.plan is None else asked.plan,
        tags={**by.tags, **asked.tags},
        limits={**limits_json(delegation.limits(policy, asked.user)), **asked.limits},
        models=[*bound.models] or None if asked.models is None else asked.models,
        paths=[*bound.paths] or None if asked.paths is None else asked.paths,
        addresses=[*bound.addresses] or None if asked.addresses is None else asked.addresses,
    )


def _role(asked: _Asked) -> Role:
    if asked.admin and asked.delegate:
        raise _invalid("a key is an admin's or a delegate's; leave one of the two out", "delegate")
    if asked.delegate and not asked.tags:
        raise _invalid("a delegate's key needs the tags of its team, such as team=nlp", "tags")
    if asked.delegate and not all(map(_REPORTED.match, asked.tags)):
        raise _invalid(
            "a delegate's tags are names of at most 64 letters, digits or _ . : / -", "tags"
        )
    return "admin" if asked.admin else "delegate" if asked.delegate else "user"


def _plan(asked: str | None, policy: Policy) -> str:
    if asked is None:
        return "default" if "default" in policy.plans else ""
    if asked not in policy.plans:
        known = ", ".join(policy.plans) or "none"
        raise _invalid(f"there is no plan {asked!r}; the policy has: {known}", "plan")
    return asked


def _limits(name: str, value: Any) -> list[Limit]:
    """One, or a list of several windows."""
    if value == []:
        raise _invalid(f"an empty list limits nothing; leave `{name}` out", "limits")
    return [_limit(name, one) for one in (value if isinstance(value, list) else [value])]


def _limit(name: str, value: Any) -> Limit:
    if name == "concurrent":
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise _invalid("`concurrent` is a whole number of at least 1", "limits")
        return Limit("concurrent", value)
    if name not in _LIMITS:
        allowed = ", ".join([*_LIMITS, "concurrent"])
        raise _invalid(f"{name!r} cannot be limited; allowed: {allowed}", "limits")
    try:
        return parse_limit(value, _LIMITS[name])
    except ValueError as error:
        message = f"`{name}`: {error}; write it like {_EXAMPLES.get(name, _EXAMPLE)}"
        raise _invalid(message, "limits") from None


def limits_json(limits: tuple[Limit, ...]) -> dict[str, Any]:
    """Limits as a request for a key writes them: {"spend": "1 USD/day", "concurrent": 2}, and
    several of one unit as a list."""
    found: dict[str, list[str | int]] = {}
    for limit in limits:
        found.setdefault(_NAMES.get(limit.unit, limit.unit), []).append(_written(limit))
    return {name: each[0] if len(each) == 1 else each for name, each in found.items()}


def permitted_json(permitted: Permitted | None) -> dict[str, list[str] | None]:
    """What a key is bound to, as a request for one writes it; null where it is to nothing."""
    bound = permitted or Permitted()
    return {
        "models": list(bound.models) or None,
        "paths": list(bound.paths) or None,
        "addresses": list(bound.addresses) or None,
    }


def _written(limit: Limit) -> str | int:
    if limit.unit == "concurrent":
        return limit.amount
    if limit.unit == "gpu_us":
        return f"{usd(limit.amount * (NANO // MICRO))}/{limit.window}"
    if limit.unit == "nano_usd":
        return f"{usd(limit.amount)} USD/{limit.window}"
    return f"{limit.amount}/{limit.window}"


def _lasts(value: str | None) -> float | None:
    if value is None:
        return None
    try:
        return parse_duration(value)
    except ValueError as error:
        raise _invalid(str(error), "expires_in") from None


def may_be_user(name: str) -> bool:
    """Whether somebody may be called so: what a key could be made for."""
    return _NAME.match(name) is not None and not name.lower().startswith(_OURS)


def _check_name(field: str, value: str) -> None:
    if not _NAME.match(value):
        raise _invalid(
            f"{value!r} must be 1 to 128 letters, digits or . _ @ + / : - and begin with a letter "
            "or digit",
            field,
        )


def _invalid(message: str, param: str | None) -> ApiError:
    return ApiError(400, "invalid_key_request", message, param=param)


def issue(
    keys: KeyStore, request: KeyRequest, now_at: float, act: Act | None = None
) -> tuple[str, KeyRecord]:
    """Makes the key and stores its hash, and with it the ``act`` by which it was asked for. The key
    itself is returned, and kept nowhere."""
    key = generate_key()
    ends = request.ends_at(now_at)
    entry = None if act is None else _entry(act, request.principal, ends)
    return key, keys.create(request.principal, key, expires_at=ends, act=entry)


def _entry(act: Act, principal: Principal, expires_at: float | None) -> Act:
    details = {"user": principal.user, "plan": principal.plan, "role": principal.role}
    if expires_at is not None:
        details["expires_at"] = iso(expires_at, "seconds")
    return msgspec.structs.replace(act, target=principal.key_id, details=details)


def state_of(record: KeyRecord, now_at: float) -> str:
    """``active``, ``revoked`` or ``expired``. ``now_at``: seconds since the epoch."""
    if record.revoked_at is not None:
        return "revoked"
    expired = record.expires_at is not None and record.expires_at <= now_at
    return "expired" if expired else "active"


def as_json(record: KeyRecord, now_at: float) -> dict[str, Any]:
    """A key as others may see it at ``now_at``: never the key."""
    principal = record.principal
    return {
        "id": principal.key_id,
        "user": principal.user,
        "plan": principal.plan,
        "role": principal.role,
        "tags": principal.tags,
        "limits": limits_json(principal.limits),
        **permitted_json(principal.permitted),
        "hint": record.hint,
        "state": state_of(record, now_at),
        "created_at": iso(record.created_at, "seconds"),
        "expires_at": iso_or_none(record.expires_at, "seconds"),
        "revoked_at": iso_or_none(record.revoked_at, "seconds"),
        "last_used_at": iso_or_none(record.last_used_at, "seconds"),
    }
