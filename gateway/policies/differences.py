"""What sets two policies apart, line by line."""

from __future__ import annotations

import difflib

from gateway.policy.model import Policy


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
