"""What a backend has read of conversations, and what it costs to have it read elsewhere. Pure.

An engine keeps what it has read of a prompt for a while, and reads the same beginning in next to no
time (https://docs.vllm.ai/en/latest/features/automatic_prefix_caching/); a provider charges it at
the price of cached input. A conversation that goes elsewhere pays for its whole prompt again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

import msgspec

from gateway.policy.sections.price import Price

MOST = 20_000
"""Conversations that are remembered of one backend; the one that was used last goes last."""
KEPT_S = 600.0
"""How long a prefix is thought to be kept that nobody uses: providers keep them for some minutes
(https://platform.openai.com/docs/guides/prompt-caching)."""
_ALPHA = 0.2
"""Weight of the newest observation in a moving mean."""
_FADES = 0.98
"""Of what calls have taught, at each one after them."""
_ENOUGH = 8.0
"""Calls that must have been seen before their seconds mean anything."""
_ALIKE = 1e-6
"""Calls that are all alike say nothing of what reading takes and what writing does."""


class Conversations:
    """How many tokens of each one a backend has read or written, and when. Bounded."""

    __slots__ = ("_most", "_read")

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._read: OrderedDict[Hashable, tuple[int, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._read)

    def tokens(self, conversation: Hashable, now: float) -> int:
        """Those that it should have kept; 0 of one that it does not know, or that has rested."""
        tokens, at = self._read.get(conversation, (0, 0.0))
        return tokens if now - at <= KEPT_S else 0

    def note(self, conversation: Hashable, tokens: int, now: float) -> None:
        """So many it has read or written now."""
        self._read[conversation] = (tokens, now)
        self._read.move_to_end(conversation)
        if len(self._read) > self._most:
            self._read.popitem(last=False)


class PromptReading:
    """What the calls of one model have taught of reading at one backend."""

    __slots__ = (
        "_fresh",
        "_fresh_s",
        "_mixed",
        "_seen",
        "_told",
        "_written",
        "_written_s",
        "share",
    )

    def __init__(self) -> None:
        self.share = 0.0
        """Of the tokens that should have been kept, how many the engine says were: none, until it
        has said so."""
        self._told = 0
        self._seen = self._fresh = self._written = self._mixed = 0.0
        self._fresh_s = self._written_s = 0.0

    def observe_kept(self, expected: int, cached: int) -> None:
        """Of a call whose conversation had left ``expected`` tokens, so many came from a cache."""
        if expected > 0:
            self._told += 1
            weight = max(_ALPHA, 1 / self._told)
            self.share += weight * (min(cached / expected, 1.0) - self.share)

    def observe_run(self, fresh: int, written: int, seconds: float) -> None:
        """A call read so many tokens anew, wrote so many, and ran for so long."""
        self._seen = self._seen * _FADES + 1
        self._fresh = self._fresh * _FADES + fresh * fresh
        self._written = self._written * _FADES + written * written
        self._mixed = self._mixed * _FADES + fresh * written
        self._fresh_s = self._fresh_s * _FADES + fresh * seconds
        self._written_s = self._written_s * _FADES + written * seconds

    @property
    def seconds_per_token(self) -> float:
        """That reading takes: the least squares of seconds by tokens read and written. 0 while
        nobody can say."""
        common = self._fresh * self._written
        apart = common - self._mixed * self._mixed
        if self._seen < _ENOUGH or apart <= _ALIKE * common:
            return 0.0
        found = (self._fresh_s * self._written - self._written_s * self._mixed) / apart
        return max(found, 0.0)


class KeptPrefix(msgspec.Struct, frozen=True, gc=False):
    """Of a call's conversation, at one backend."""

    tokens: int
    """That it should not have to read again."""
    seconds_per_token: float
    """That reading one takes there."""


NOTHING_KEPT = KeptPrefix(0, 0.0)


class Lost(msgspec.Struct, frozen=True, gc=False):
    """What a backend has to read again that another one has kept."""

    kept: int
    """Tokens that it has kept itself."""
    tokens: int
    seconds: float
    nano: int
    """Nano-dollars that this adds to its own price."""


class ReadingPrice(msgspec.Struct, frozen=True, gc=False):
    """Nano-dollars of reading."""

    saved_per_million: int
    """What a million tokens cost less from a cache."""
    per_second: int
    """Of the backend's time, where that is bought by the second."""


_NOTHING_TO_PAY = ReadingPrice(0, 0)


def reading_price(price: Price | None) -> ReadingPrice:
    """Nothing where the backend is paid for anyhow."""
    if price is None or price.reserved:
        return _NOTHING_TO_PAY
    whole, cached = price.per_million_input or 0, price.per_million_cached_input
    saved = 0 if cached is None else max(whole - cached, 0)
    return ReadingPrice(saved, price.per_second or 0)


def lost_at(kept: KeptPrefix, most: KeptPrefix, price: ReadingPrice) -> tuple[Lost, int]:
    """``most``: where most is kept, whose speed stands for one that is not known. Also nano-dollars
    by which the call is cheaper here than one that is read anew."""
    tokens = most.tokens - kept.tokens
    seconds = tokens * (kept.seconds_per_token or most.seconds_per_token)
    time = round(seconds * price.per_second)
    nano = price.saved_per_million * tokens // 1_000_000 + time
    saved = price.saved_per_million * kept.tokens // 1_000_000 - time
    return Lost(kept.tokens, tokens, seconds, nano), saved
