"""Ended calls, and what they are charged, in both stores.

``settlement`` settles a call, once, and tries again what a store did not take; ``unwritten`` is
what the shared store counts and the ledger does not know yet. ``abandoned`` are the rows of
gateways that died, and ``interrupted`` how such a call ends. ``windows`` is what counters are
filled with from the ledger, ``noted`` what ends while that is read.
"""
