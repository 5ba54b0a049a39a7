"""How many client tokens are kept, and for how long."""

from __future__ import annotations

MOST_LIVE = 10_000
"""Of one key at a time."""
MOST_LISTED = 1_000
KEPT_S = 86_400.0
"""For how long one is kept that has expired: nobody is told sooner that it is not known."""
PRUNED = 20
"""Rows of older ones that go with each that is made."""


class TooManyTokens(ValueError):
    """The key has as many live ones as it may."""

    def __init__(self, live: int) -> None:
        super().__init__(f"the key has {live} client tokens that have not expired")
