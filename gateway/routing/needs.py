"""What a call needs of whoever answers it, beside its task: abilities that a backend may lack, and
a context that its prompt fits. Pure.

A prompt's tokens are an estimate from its texts, which is often too high: by it a backend is put
behind others, and left out only where the prompt would be twice what it takes.
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from gateway.policy.model import Ability
from gateway.routing.codes import RefusalCode

SURELY = 2
"""A prompt of so many times a context does not fit it, however it was estimated."""


class Needs(msgspec.Struct, frozen=True):
    """Of one call."""

    abilities: frozenset[Ability] = frozenset()
    prompt_tokens: int = 0
    """About how many it reads; 0 where it fits every backend, or no context is known."""
    goes_on: bool = False
    """Where it is too long for every backend, a larger model is asked."""


NO_NEEDS = Needs()


def unmet_by(
    needs: Needs, takes: Collection[Ability] | None, context: int | None
) -> RefusalCode | None:
    """Why a backend that takes this, and has that context, is not asked; None where it may be."""
    if takes is not None and any(one not in takes for one in needs.abilities):
        return "lacks_ability"
    if context is not None and not needs.goes_on and needs.prompt_tokens > SURELY * context:
        return "context_too_small"
    return None


def is_tight(needs: Needs, context: int | None, output_tokens: int) -> bool:
    """Whether the prompt, with an answer of so many tokens, is probably too long for a context."""
    return context is not None and needs.prompt_tokens + output_tokens > context
