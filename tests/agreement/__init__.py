"""Whether a replay says what a gateway does: the same calls through a running gateway with local
workers, beside a platform whose workers are simulated, and through ``spillgate replay``.

``platform`` is that platform, over HTTP, and ``machines`` are endpoints that are always there;
``slices`` are the calls; ``runs`` puts them through one and the other. ``python -m
tests.agreement`` does it for as long as one likes.
"""
