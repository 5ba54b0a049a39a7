"""The warm pool: backends that are woken before the rush, and kept warm between calls.

``plan`` decides whom to wake, ping or scale now, within the ``hours`` of the week; both are pure.
``keeper`` is the loop that does it and writes the cost into the ledger, ``prober`` the one that
asks how backends are.
"""
