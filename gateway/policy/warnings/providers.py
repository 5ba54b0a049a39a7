"""Backends at a provider that would refuse what they are sent."""

from __future__ import annotations

from typing import Any

from gateway.policy.model import BackendSpec, Policy
from gateway.policy.warnings.places import Found

_MESSAGES = "/v1/messages"


def providers_in_vain(policy: Policy) -> Found:
    """Without a key, or of a model whose calls they do not take."""
    for name, spec in policy.backends.items():
        if _lacks_key(spec.settings):
            provider = spec.settings.provider
            yield f"backends.{name}", f"{provider} refuses calls without a key: give an api_key"
    for name, model in policy.models.items():
        alone = [one for one in model.backends if _takes_messages_alone(policy.backends[one])]
        path, which = f"models.{name}.backends", " and ".join(alone)
        if not alone or _has_own_path(policy, model.task, alone):
            continue
        if model.task != "chat":
            yield (
                path,
                (
                    f"{which}: its provider answers {_MESSAGES} alone, and no call of "
                    f"task: {model.task} (400 unsupported)"
                ),
            )
        elif len(alone) == len(model.backends):
            yield (
                path,
                (
                    f"{which}: its provider answers {_MESSAGES} alone; other calls of the model, "
                    "such as /v1/chat/completions, are refused (400 unsupported)"
                ),
            )


def _lacks_key(settings: Any) -> bool:
    """At the provider itself: a server of one's own in front of it may have the key."""
    known: Any = getattr(settings, "known", None)
    if known is None or settings.provider is None or settings.api_key is not None:
        return False
    return not settings.headers and (not settings.base_url or not known.base_url)


def _takes_messages_alone(spec: BackendSpec) -> bool:
    known: Any = getattr(spec.settings, "known", None)
    return bool(getattr(known, "native_alone", False))


def _has_own_path(policy: Policy, task: str, alone: list[str]) -> bool:
    """Of calls that go where the policy says."""
    settings = (policy.backends[one].settings for one in alone)
    return task == "other" or (task == "infer" and all(one.infer_path for one in settings))
