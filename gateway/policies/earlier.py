"""To which policy a roll-back returns. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from gateway.storage.policies.base import NewChange


def before(in_force: str, changes: Iterable[NewChange]) -> str | None:
    """The version before the one in force; ``changes`` are the oldest first. What was rolled back
    is undone: two roll-backs go back two policies."""
    stack: list[str] = []
    for change in changes:
        if change.act == "try_out":
            continue
        if change.act == "roll_back" and change.version in stack:
            del stack[stack.index(change.version) + 1 :]
        elif not stack or stack[-1] != change.version:
            stack.append(change.version)
    while stack and stack[-1] != in_force:
        stack.pop()
    return stack[-2] if len(stack) > 1 else None
