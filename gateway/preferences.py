"""What a caller asks of the routing, beside the call itself."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from adapters.types import ANY_IMAGE, ImageKind
from gateway.money.inputs import TEXT_ALONE, InputParts
from gateway.planning.line import LINES
from gateway.routing.needs import NO_NEEDS, Needs
from gateway.types import BATCH_TAG, Priority, with_own

RANK: dict[Priority, int] = {"low": 0, "normal": 1, "high": 2}
"""A call of higher rank goes first in a backend's line."""


class Preferences(msgspec.Struct, frozen=True):
    """What a caller asked of the routing, beside the call."""

    priority: Priority | None = None
    max_price: int | None = None
    """Nano-dollars."""
    output_tokens: int = 1024
    """The most that the call may produce, as its body says; else what its model may."""
    unbounded: int = 0
    """Answers that the call makes and for which its body says no bound; 0 where it says one, and
    where its shape is not known."""
    parts: InputParts = TEXT_ALONE
    """What the body holds beside text."""
    tags: Mapping[str, str] | None = None
    """That the request gives its call."""
    images: int = 0
    """Images that it asks for; 0: nobody says."""
    image: ImageKind = ANY_IMAGE
    """What these shall be."""
    session: str = ""
    """The conversation that the call belongs to, by its caller's own name; empty: none is known."""
    needs: Needs = NO_NEEDS
    region: str = ""
    """Where the caller is, as a proxy that is trusted says; empty: nobody knows."""

    patience: float | None = None
    """Seconds that the call may wait for what is cheap, where those are more than its route's SLO;
    None: it has no more time than that."""

    def tags_with(self, own: dict[str, str]) -> dict[str, str]:
        """The call's: those of its key, ``own``, and what the request gives beside them."""
        return own if self.tags is None else with_own(self.tags, own)

    def rank(self, priority: Priority) -> int:
        """The call's in a backend's line, where its priority is this; a batch's line is behind all
        calls."""
        return LINES if self.tags is not None and BATCH_TAG in self.tags else RANK[priority]


NO_PREFERENCES = Preferences()
