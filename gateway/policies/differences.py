"""What sets two policies apart, line by line."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

import msgspec

from adapters.settings import Secret
from gateway.policy.model import Policy
from gateway.types import ApiError


def differences(before: Policy, after: Policy) -> str:
    """A unified diff of what they say, without comments and layout; empty where they say the same.
    Of large policies it takes a while."""
    lines = difflib.unified_diff(
        before.document.splitlines(keepends=True),
        after.document.splitlines(keepends=True),
        before.version,
        after.version,
    )
    return "".join(lines)


def check_fixed(before: Policy, after: Policy) -> None:
    """Raises ApiError 409 for what only a restart can change."""
    for section in ("server", "store"):
        was, now = getattr(before, section), getattr(after, section)
        changed = [
            f"{section}.{key}"
            for key in was.__struct_fields__
            if getattr(was, key) != getattr(now, key)
        ]
        if changed:
            differ = "differs" if len(changed) == 1 else "differ"
            raise ApiError(
                409,
                "restart_needed",
                f"{', '.join(changed)} {differ} from the policy in force; that takes a restart.",
                param=section,
            )


def check_versions(before: Policy, after: Policy) -> None:
    """Raises ApiError 409 for a version of a model that would be another one under its name."""
    for name in sorted(_versions(before) & after.models.keys()):
        if changed := _changed(_answering(before, name), _answering(after, name)):
            raise ApiError(
                409,
                "version_changed",
                f"The version {name!r} is in force, and {', '.join(changed)} differs now: "
                "give what is new a name of its own, or take this one out of its split first.",
                param=f"models.{name}",
            )


_MAY_CHANGE = frozenset(("slo", "larger"))


def _versions(policy: Policy) -> set[str]:
    """The models that callers get by a split."""
    return {name for alias in policy.aliases.values() for name in alias.split}


def _answering(policy: Policy, name: str) -> dict[str, Any]:
    """What answers calls of a model, by its key: its parameters, and where and what its backends
    are. A secret may be another one, a promise too."""
    spec = policy.models[name]
    found = {
        f"models.{name}.{key}": value
        for key, value in msgspec.structs.asdict(spec).items()
        if key not in _MAY_CHANGE
    }
    for backend in spec.backends:
        one = policy.backends[backend]
        found[f"backends.{backend}.kind"] = one.kind
        for key, value in _shown(one.settings).items():
            found[f"backends.{backend}.{key}"] = value
    return found


def _changed(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """The keys of what differs; of backends that are others their list alone."""
    both = [key for key in before if key in after and before[key] != after[key]]
    one_sided = sorted(before.keys() ^ after.keys())
    return both or one_sided


def _shown(value: Any) -> Any:
    """The same without its secrets."""
    if isinstance(value, Secret):
        return None
    if isinstance(value, msgspec.Struct):
        return {name: _shown(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, Mapping):
        return {name: _shown(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_shown(one) for one in value]
    return value
