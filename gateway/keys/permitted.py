"""What a key may be used for: the models, the paths and the addresses that it is bound to."""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Collection, Iterable
from typing import Literal

from gateway.types import ApiError, Permitted

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

PATHS = (
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/embeddings",
    "/v1/messages",
    "/v1/messages/*",
    "/v1/responses",
    "/v1/responses/*",
    "/v1/realtime",
    "/v1/images/*",
    "/v1/audio/*",
    "/v1/rerank",
    "/v1/moderations",
    "/v1/score",
    "/v1/tokenize",
    "/v1/infer/*",
    "/v1/files",
    "/v1/batches",
    "/v1/batches/*",
    "/v1/files/*",
    "/v1/jobs",
    "/v1/jobs/*",
    "/v1/route/explain",
    "/dashboard",
    "/dashboard/*",
    "/v1/tokens",
    "/v1/tokens/*",
    "/runpod/*",
    "/replicate/*",
    "/banana/*",
    "/usage",
    "/usage/*",
    "/admin/*",
    "/metrics",
)
"""What a key may be bound to; ``*`` stands for whatever follows."""
_ALWAYS = ("/v1/me", "/v1/models", "/v1/models/*")
"""Every key may ask what it may use: no more is told than that."""
MOST = 100
"""Of each kind, on one key: all of them are in memory."""


# --- what a request may do -----------------------------------------------------------------------


def check_request(permitted: Permitted, path: str, client: str) -> None:
    """Raises ApiError 403 for a path or an address to which the key is not bound."""
    if permitted.paths and not _takes(permitted.paths, path):
        raise _refused("path", f"{', '.join(permitted.paths)} alone")
    if permitted.addresses and not is_within(client, permitted.addresses):
        # Which addresses would do is told to nobody who may have stolen the key.
        raise _refused("address", f"some addresses alone, and not from {client or 'a socket'}")


def check_model(permitted: Permitted | None, model: str, named: str = "") -> None:
    """Raises ApiError 403 for a model to which the key is not bound, nor to the name ``named`` by
    which it is called."""
    if not may_use(permitted, model) and not (named and may_use(permitted, named)):
        assert permitted is not None
        raise _refused("model", f"{', '.join(permitted.models)} alone", param="model")


def may_use(permitted: Permitted | None, model: str) -> bool:
    """Whether the key may name the model; ``None`` is bound to nothing."""
    return permitted is None or not permitted.models or model in permitted.models


_Kind = Literal["model", "path", "address"]
_WORDS: dict[_Kind, str] = {
    "model": "Your key is for the models",
    "path": "Your key is for the paths",
    "address": "Your key may be used from",
}


def _refused(kind: _Kind, what: str, param: str | None = None) -> ApiError:
    return ApiError(
        403,
        "key_not_permitted",
        f"{_WORDS[kind]} {what}. GET /v1/me tells what it may be used for; whoever runs this "
        "gateway can make another.",
        type="permission_error",
        param=param,
    )


def _takes(patterns: Iterable[str], path: str) -> bool:
    return any(matches(pattern, path) for pattern in (*patterns, *_ALWAYS))


def matches(pattern: str, path: str) -> bool:
    """Whether a path is what the pattern stands for."""
    return path.startswith(pattern[:-1]) if pattern.endswith("*") else path == pattern


def is_within(client: str, addresses: tuple[str, ...]) -> bool:
    """Whether an address lies in one of the networks; what is no address lies in none."""
    try:
        address = ipaddress.ip_address(client.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None) or address
    return any(address in one or mapped in one for one in _networks(addresses))


@functools.lru_cache(maxsize=1024)
def _networks(addresses: tuple[str, ...]) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(address) for address in addresses)


# --- what a key may be bound to ------------------------------------------------------------------


def read_permitted(
    models: list[str] | None,
    paths: list[str] | None,
    addresses: list[str] | None,
    known_models: Collection[str],
) -> Permitted | None:
    """What a request for a key asks for; None: it binds the key to nothing. Raises ApiError 400
    naming the field at fault."""
    if models is None and paths is None and addresses is None:
        return None
    return Permitted(
        tuple(_model(model, known_models) for model in _listed("models", models)),
        tuple(map(_path, _listed("paths", paths))),
        tuple(map(_address, _listed("addresses", addresses))),
    )


def _listed(field: str, values: list[str] | None) -> list[str]:
    if values is None:
        return []
    if not values:
        raise _invalid(f"an empty list of {field} allows none; leave it out for all", field)
    if len(values) > MOST:
        raise _invalid(f"{len(values)} {field}: a key has at most {MOST}", field)
    return list(dict.fromkeys(values))


def _model(name: str, known: Collection[str]) -> str:
    if name not in known:
        there_are = ", ".join(known) or "none"
        raise _invalid(f"there is no model {name!r}; the policy has: {there_are}", "models")
    return name


def _path(path: str) -> str:
    is_there = any(
        matches(known, path) or (path.endswith("/*") and known.startswith(path[:-1]))
        for known in PATHS
    )
    if not is_there or "*" in path[:-1]:
        raise _invalid(
            f"no route has the path {path!r}; a key may be bound to {', '.join(PATHS)}, or to a "
            "path below one that ends with /*",
            "paths",
        )
    return path


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text))
    except ValueError:
        pass
    try:
        wider = ipaddress.ip_network(text, strict=False)
    except ValueError:
        example = "10.0.0.0/8, 192.0.2.7 or 2001:db8::/32"
        raise _invalid(
            f"{text!r} is no address and no network; write {example}", "addresses"
        ) from None
    raise _invalid(f"{text} names a machine within its network; write {wider}", "addresses")


def _invalid(message: str, param: str) -> ApiError:
    return ApiError(400, "invalid_key_request", message, param=param)
