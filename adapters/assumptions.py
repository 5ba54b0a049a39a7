"""An assumption about a platform, put to the test: one question, and what its answer means."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from adapters.errors import BackendError, FailureClass
from adapters.types import Assumption

ACCEPTED = "the key is accepted"
_UNASKED = frozenset(
    (
        FailureClass.UNREACHABLE,
        FailureClass.OVERLOADED,
        FailureClass.LOADING,
        FailureClass.TIMEOUT,
        FailureClass.AMBIGUOUS,
        FailureClass.TRUNCATED,
    )
)
"""Failures that say nothing of what was asked."""


async def tried(claim: str, ask: Callable[[], Awaitable[tuple[bool, str]]]) -> Assumption:
    """What ``ask`` finds: whether the claim holds, and what was seen. A refusal is a finding; a
    platform that cannot be asked leaves the claim open."""
    try:
        holds, found = await ask()
    except BackendError as error:
        unasked = error.failure in _UNASKED
        return Assumption(claim=claim, holds=None if unasked else False, found=error.told)
    return Assumption(claim=claim, holds=holds, found=found)
