"""Which models the names in a batch's lines stand for: those that they stood for when it was
accepted, whatever is moved while it runs."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import msgspec

from gateway.active_policy import ActivePolicy
from gateway.policy.sections.model_names import Alias
from gateway.types import Principal

_INFER = "/v1/infer/"


def models_named(active: ActivePolicy, principal: Principal, endpoint: str) -> dict[str, str]:
    """Each name that a line may give, and is not a model's own -> its model, to this caller."""
    aliases = active.policy.aliases
    named = endpoint.removeprefix(_INFER)
    may = aliases.keys() if named == endpoint else aliases.keys() & {named}
    return {name: aliases[name].of(principal) for name in may}


def as_accepted(active: ActivePolicy, models: Mapping[str, str]) -> ActivePolicy:
    """The policy in force, to read lines by, where these names stand for these models."""
    if not models:
        return active
    aliases = active.policy.aliases | {name: Alias(alias=to) for name, to in models.items()}
    same = copy.copy(active)
    same.policy = msgspec.structs.replace(active.policy, aliases=aliases)
    return same
