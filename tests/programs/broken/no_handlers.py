"""A Runtime that nobody gave a handler, and a name that is no Runtime."""

from __future__ import annotations

from local_runtime import Runtime

app = Runtime("no-handlers")


other = {"not": "a runtime"}
