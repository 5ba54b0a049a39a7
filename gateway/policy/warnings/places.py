"""Where a warning stands, and what it says."""

from __future__ import annotations

from collections.abc import Iterator

Found = Iterator[tuple[str, str]]
"""(key path, message)."""
