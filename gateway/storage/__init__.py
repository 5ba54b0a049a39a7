"""What is kept: the counters that admit calls, the ledger, the keys.

``base`` has the ports: the shared store, the ledger, the keys. ``memory`` is the shared store of
one process, ``redis/`` that of several; ``counters`` and ``windows`` are the arithmetic of limits.
``sqlite/`` has the ledger and the keys.
"""
