"""What sets two policies apart, line by line."""

from __future__ import annotations

import difflib

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
    """Raises ApiError for what only a restart can change."""
    for section in ("server", "store"):
        if getattr(before, section) != getattr(after, section):
            raise ApiError(
                409,
                "restart_needed",
                f"`{section}` differs from the policy in force; a change of it takes a restart.",
                param=section,
            )
