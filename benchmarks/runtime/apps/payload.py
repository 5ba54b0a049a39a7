"""What every request says."""

from __future__ import annotations


def sample() -> dict[str, list[float]]:
    """64 numbers, as a body holds them."""
    return {"x": [round(0.5 - place / 64, 4) for place in range(64)]}
