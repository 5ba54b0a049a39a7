"""The gateway's own dispatcher, decision, lines, prices, limits and warm pool on a virtual clock,
against simulated backends: what a policy says decides here as it does in a gateway that runs.

``loop`` is an event loop whose time leaps. ``workers`` are those of a platform that scales from
zero, ``machines`` backends that are always there; ``backends`` makes one or the other of each of a
policy's. ``callers`` make calls of what was recorded, ``runs`` are theirs at backends, and
``second_runs`` those of calls that are asked of two; ``row_sums`` is the ledger that adds them up,
and ``measured`` what all of it came to. ``gateway`` puts the parts together, ``played`` runs a
recording through them, and ``told`` says what came of it; ``changes`` are those of which one may
cost less.
"""
