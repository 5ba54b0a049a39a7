"""Which model a version, or an owner and a name mean; and models as Replicate shows them. Pure."""

from __future__ import annotations

import functools
import hashlib
from typing import Any

from gateway.active_policy import ActivePolicy
from gateway.doors.requests.named import name_meant
from gateway.money.text import iso
from gateway.types import ApiError, Principal

OWNER = "spillgate"
"""Of models whose name in the policy has no owner."""


def name_of(active: ActivePolicy, principal: Principal, owner: str, name: str) -> str:
    """The name, or alias, that the policy has. Raises ApiError: 404 where there is none, 403 where
    the key is not for it."""
    whole = f"{owner}/{name}"
    if owner == OWNER and active.target(whole, principal) not in active.policy.models:
        whole = name
    return name_meant(active, principal, whole)


def name_of_version(active: ActivePolicy, principal: Principal, version: str) -> str:
    """``version``: an id, ``owner/name`` or ``owner/name:id``. An id is one that a model was shown
    with here, or an alias of a model. Raises ApiError as ``name_of`` does."""
    whole, _, id = version.rpartition(":")
    owner, _, name = (whole or id).partition("/")
    if name:
        return name_of(active, principal, owner, name)
    for model in active.policy.models:
        if version_of(model) == version:
            return name_meant(active, principal, model)
    try:
        return name_meant(active, principal, version)
    except ApiError as error:
        if error.status != 404:
            raise
        raise _no_version(version) from None


def _no_version(version: str) -> ApiError:
    return ApiError(
        404,
        "model_not_found",
        f"There is no version {version[:80]!r} here. GET /replicate/v1/models lists the models "
        "with theirs; an alias in the policy, models: {VERSION: {alias: MODEL}}, makes one known.",
        param="version",
    )


@functools.lru_cache(maxsize=4096)
def version_of(model: str) -> str:
    """The one version that a model has here: the same in every gateway."""
    return hashlib.sha256(b"model:" + model.encode()).hexdigest()


def full_name(model: str) -> str:
    """``owner/name``."""
    return model if "/" in model else f"{OWNER}/{model}"


def version_shown(model: str) -> dict[str, Any]:
    """The version's schema says nothing: what a model takes is its own matter."""
    return {
        "id": version_of(model),
        "created_at": iso(0, "milliseconds"),
        "cog_version": "0.16.0",
        "openapi_schema": {},
    }


def model_shown(whole: str, model: str, base: str) -> dict[str, Any]:
    """``whole``: the owner and name by which it is asked for."""
    owner, _, name = whole.partition("/")
    return {
        "url": f"{base}/models/{owner}/{name}",
        "owner": owner,
        "name": name,
        "description": None,
        "visibility": "private",
        "github_url": None,
        "paper_url": None,
        "license_url": None,
        "run_count": 0,
        "cover_image_url": None,
        "default_example": None,
        "latest_version": version_shown(model),
    }


def deployment_shown(whole: str, model: str) -> dict[str, Any]:
    """Every model is a deployment too, of which the platform's own figures are not known."""
    owner, _, name = whole.partition("/")
    return {
        "owner": owner,
        "name": name,
        "current_release": {
            "number": 1,
            "model": whole,
            "version": version_of(model),
            "created_at": iso(0, "milliseconds"),
            "created_by": None,
            "configuration": {"hardware": "any", "min_instances": 0, "max_instances": 1},
        },
    }
