"""Which model of the policy the name means by which another platform's client asks."""

from __future__ import annotations

from gateway.active_policy import ActivePolicy
from gateway.types import ApiError, Principal


def name_meant(active: ActivePolicy, principal: Principal, name: str) -> str:
    """The name, a model's or an alias; of a backend's name the model that it serves. Raises
    ApiError: 404 where there is none, 400 where a backend serves several, 403 where the key is not
    for it."""
    target = active.target(name, principal)
    if target not in active.policy.models and name in active.backends:
        name = _served_by(active, name)
    active.model(name, principal)
    return name


def _served_by(active: ActivePolicy, backend: str) -> str:
    models = active.served_by(active.backends[backend])
    if len(models) != 1:
        there_are = ", ".join(models) or "none"
        raise ApiError(
            400,
            "invalid_field",
            f"The backend {backend!r} serves {len(models)} models ({there_are}): name the model.",
            param="model",
        )
    return models[0]
