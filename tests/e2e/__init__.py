"""Whole gateways as processes of their own, asked over HTTP; one file a thing that may happen.

A flood that spills, a budget that ends, a backend or a client that goes, a full disk, SIGKILL,
secrets, several gateways on one Redis. ``observing`` looks at them from outside; ``servers/`` are
the backends that they stand before; ``process/`` is about the gateway as a process, ``failures/``
about what breaks.
"""
