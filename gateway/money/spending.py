"""Whose spending has changed since somebody looked: what costs a call one entry of a dictionary."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.storage.base import Claim

LimitKey = tuple[str, str, str]
"""(scope, unit, window)."""


class Spending:
    """Filled by calls as they end and as they are refused; emptied by whoever watches."""

    __slots__ = ("by_key", "refused")

    def __init__(self) -> None:
        self.by_key: dict[str, Sequence[Claim]] = {}
        """Id of a key -> the limits of its last call that was settled."""
        self.refused: dict[LimitKey, Claim] = {}
        """The limits that had no room for a call."""

    def refuse(self, claim: Claim) -> None:
        """A call was refused, for this limit had no room."""
        self.refused[claim.scope, claim.unit, claim.window] = claim

    def take(self) -> tuple[dict[str, Sequence[Claim]], dict[LimitKey, Claim]]:
        """What has come since the last time."""
        taken = self.by_key, self.refused
        self.by_key, self.refused = {}, {}
        return taken

    def give_back(self, by_key: dict[str, Sequence[Claim]], refused: dict[LimitKey, Claim]) -> None:
        """What could not be looked at; what has come meanwhile is newer."""
        self.by_key = {**by_key, **self.by_key}
        self.refused = {**refused, **self.refused}
