"""How many values each key may give a tag: whoever makes one up for each call must not fill reports
and counters with them."""

from __future__ import annotations

import logging

log = logging.getLogger("spillgate")

OTHER = "other"
"""What stands for a value past the bound."""
_DAY_S = 86_400


class TagValues:
    """Of one gateway process. Counted anew each day (UTC)."""

    def __init__(self) -> None:
        self._day = -1
        self._seen: dict[tuple[str, str], set[str]] = {}
        self._full: set[tuple[str, str]] = set()

    def within(self, key_id: str, name: str, value: str, most: int, now_at: float) -> str:
        """The value, or ``OTHER`` where the key has given the tag ``most`` other ones today.
        ``now_at``: seconds since the epoch."""
        if (day := int(now_at // _DAY_S)) != self._day:
            self._day, self._seen, self._full = day, {}, set()
        seen = self._seen.setdefault((key_id, name), set())
        if value in seen:
            return value
        if len(seen) >= most:
            self._tell(key_id, name, most)
            return OTHER
        seen.add(value)
        return value

    def _tell(self, key_id: str, name: str, most: int) -> None:
        """Once a day."""
        if (key_id, name) not in self._full:
            self._full.add((key_id, name))
            text = "%s has given the tag %s %d values today: further ones are counted as %s"
            log.warning(text, key_id, name, most, OTHER)
