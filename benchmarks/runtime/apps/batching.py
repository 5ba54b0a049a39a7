"""How all contenders batch."""

from __future__ import annotations

BATCH = 16
"""The largest batch of every contender: half the connections, so that one half can travel while the
other is computed."""
HEAVY_BATCH = 32
WAIT_S = 0.002
"""How long a request may wait for company."""
