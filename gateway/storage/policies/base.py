"""The port of policies that were in force: their text, and what put each into force.

A text holds names of secrets and never a secret: whatever holds one was no policy. Changes are
numbered from 1 without a gap, and only ever added.
"""

from __future__ import annotations

from typing import Literal, Protocol

import msgspec

PolicyAct = Literal["start", "reload", "apply", "roll_back", "try_out"]
"""``try_out``: it is not in force, but beside the one that is."""


class NewChange(msgspec.Struct, frozen=True, kw_only=True):
    """A policy comes into force."""

    act: PolicyAct
    version: str
    """Of what is in force now."""
    file: str
    """Of what the gateway's files say meanwhile."""
    actor: str = "gateway"
    """``key:`` and a key's id, ``signal:`` and its name, or ``gateway``."""
    address: str = ""
    """Of the connection that it came by."""


class PolicyChange(msgspec.Struct, frozen=True):
    """A change, its place among all, and when it was kept (seconds since the epoch)."""

    number: int
    at: float
    what: NewChange


class PolicyStore(Protocol):
    """All raise StorageUnavailable."""

    async def add(self, change: NewChange, document: str, after: int) -> PolicyChange | None:
        """Keeps it with the policy's text; None where ``after`` is not the newest number (0: there
        is none), and nothing was kept."""
        ...

    async def newest(self, file: str | None = None) -> PolicyChange | None:
        """Of all changes, or of those over files that say what ``file`` does."""
        ...

    async def changes(self, before: int | None, most: int) -> list[PolicyChange]:
        """Newest first, of those with a number below ``before``."""
        ...

    async def document(self, version: str) -> str | None:
        """The text of a policy that was in force; None where it never was."""
        ...
