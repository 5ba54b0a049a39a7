"""``kind: baseten``, before a small Baseten of the tests (``platform``)."""
