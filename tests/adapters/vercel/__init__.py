"""``kind: vercel``, before a small AI Gateway of the tests (``platform``)."""
