"""Making client tokens: each has no right that its key has not, a cap of its own, and an end."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Sequence

import msgspec

from adapters.settings import parse_duration
from gateway.api_keys import generate_token
from gateway.keys.permitted import PATHS, matches, may_use, read_permitted
from gateway.money.text import iso, usd
from gateway.policy.model import Policy
from gateway.policy.sections.limits import parse_limit
from gateway.storage.audit import Act
from gateway.storage.key_records import KeyRecord
from gateway.storage.key_store import KeyStore
from gateway.types import (
    TOKEN_TAG,
    ApiError,
    ClientToken,
    Limit,
    Permitted,
    Principal,
    Unit,
    in_json_words,
)

WINDOW = "24h"
"""Rolls, and is as long as the longest life: whatever a token spends, it spends within it."""
LONGEST_S = 86_400.0
SHORTEST_S = 60.0
"""Each one made is a write into the store of the keys."""
_USUAL = "10m"
_SPEND = re.compile(r"\d+(\.\d+)?\s*USD")
_NOT_LENT = ("/v1/files", "/v1/batches", "/v1/jobs", "/v1/tokens", "/v1/route/")
TOKEN_PATHS = tuple(
    path for path in PATHS if path.startswith("/v1/") and not path.startswith(_NOT_LENT)
)
"""Calls, and nothing that is listed, kept or made for others."""


class TokenRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """As it is asked for; what is left out is as the key has it."""

    spend: str
    """The most that all its calls may cost together, such as "0.50 USD"."""
    expires_in: str = _USUAL
    requests: str | None = None
    """A rate, such as 20/minute."""
    concurrent: int | None = None
    models: list[str] | None = None
    paths: list[str] | None = None
    origins: list[str] | None = None


def read_token_request(value: object, key: Principal, policy: Policy) -> tuple[Principal, float]:
    """A token of ``key`` and how many seconds it lasts. Its ``key_digest`` is not known yet. Raises
    ApiError 400 naming the field at fault, 403 for what the key itself may not do."""
    try:
        asked = msgspec.convert(value, TokenRequest)
    except msgspec.ValidationError as error:
        raise _invalid(in_json_words(str(error)), None) from None
    token = ClientToken(
        id=f"tok_{os.urandom(8).hex()}",
        key_digest="",
        limits=_limits(asked),
        origins=_origins(asked.origins, policy),
    )
    return msgspec.structs.replace(
        key,
        role="user",
        tags={**key.tags, TOKEN_TAG: token.id},
        permitted=_permitted(asked, key.permitted or Permitted(), policy),
        token=token,
    ), _lasts(asked.expires_in)


def issue_token(
    keys: KeyStore, asked: Principal, digest: bytes, ends_at: float, act: Act
) -> tuple[str, KeyRecord]:
    """Makes the token and stores its hash, and the ``act`` with it; ``digest`` of the key that asks
    for it. Raises TooManyTokens."""
    assert asked.token is not None
    principal = msgspec.structs.replace(
        asked, token=msgspec.structs.replace(asked.token, key_digest=digest.hex())
    )
    text = generate_token()
    details = {"user": asked.user, "key": asked.key_id, "expires_at": iso(ends_at, "seconds")}
    entry = msgspec.structs.replace(act, target=asked.token.id, details=details)
    return text, keys.create(principal, text, expires_at=ends_at, act=entry)


def _limits(asked: TokenRequest) -> tuple[Limit, ...]:
    if _SPEND.fullmatch(asked.spend.strip()) is None:
        raise _invalid(
            f"it is for the token's whole life, such as 0.50 USD; found {asked.spend!r}", "spend"
        )
    limits = [_limit("spend", f"{asked.spend.strip()}/{WINDOW}", "nano_usd")]
    if asked.requests is not None:
        limits.append(_limit("requests", asked.requests, "requests"))
    if asked.concurrent is not None:
        if asked.concurrent < 1:
            raise _invalid("it is a whole number of at least 1", "concurrent")
        limits.append(Limit("concurrent", asked.concurrent))
    return tuple(limits)


def _limit(field: str, text: str, unit: Unit) -> Limit:
    try:
        return parse_limit(text, unit)
    except ValueError as error:
        raise _invalid(str(error), field) from None


def _lasts(text: str) -> float:
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise _invalid(str(error), "expires_in") from None
    if not SHORTEST_S <= seconds <= LONGEST_S:
        raise _invalid(f"a token lasts 1m to 24h; found {text}", "expires_in")
    return seconds


def _permitted(asked: TokenRequest, own: Permitted, policy: Policy) -> Permitted:
    known = (*policy.models, *policy.aliases)
    named = read_permitted(asked.models, asked.paths, None, known) or Permitted()
    for model in named.models:
        if not may_use(own, model):
            raise _beyond(f"it is for the models {', '.join(own.models)}", "models")
    paths = named.paths or _within(TOKEN_PATHS, own.paths)
    for path in paths:
        if not any(matches(wider, path) for wider in TOKEN_PATHS):
            raise _invalid(
                f"a token makes calls alone, at {', '.join(TOKEN_PATHS)}; found {path!r}", "paths"
            )
        if own.paths and not any(matches(wider, path) for wider in own.paths):
            raise _beyond(f"it is for the paths {', '.join(own.paths)}", "paths")
    if not paths:
        raise _beyond("it makes no calls itself", "paths")
    return Permitted(named.models or own.models, tuple(paths), own.addresses)


def _within(all_paths: Sequence[str], own: Collection[str]) -> Sequence[str]:
    """Those that the key may use; of a wider one, the narrower that it has."""
    if not own:
        return all_paths
    whole = [path for path in all_paths if any(matches(wider, path) for wider in own)]
    narrower = [path for path in own if any(matches(wider, path) for wider in all_paths)]
    return [*dict.fromkeys((*whole, *narrower))]


def _origins(asked: Iterable[str] | None, policy: Policy) -> tuple[str, ...]:
    cors = policy.server.cors
    allowed = () if cors is None else cors.origins
    if asked is None:
        return ()
    origins = tuple(dict.fromkeys(asked))
    if not origins:
        raise _invalid("an empty list allows no page; leave it out for any", "origins")
    for origin in origins:
        if origin not in allowed and "*" not in allowed:
            told = ", ".join(allowed) or "none"
            raise _invalid(
                f"no page of {origin!r} may call this gateway: `server.cors` of the policy names "
                f"{told}",
                "origins",
            )
    return origins


def cap_of(limits: Iterable[Limit]) -> str:
    """A token's cap, in US dollars."""
    return next(usd(limit.amount) for limit in limits if limit.unit == "nano_usd")


def _invalid(message: str, param: str | None) -> ApiError:
    return ApiError(400, "invalid_token_request", message, param=param)


def _beyond(what: str, param: str) -> ApiError:
    return ApiError(
        403,
        "beyond_key",
        f"A token has no right that your key has not, and {what}.",
        type="permission_error",
        param=param,
    )
