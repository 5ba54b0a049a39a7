"""Durable jobs in a day of the simulation: accepted, run by whoever has their lease, asked for
twice, canceled, and told to receivers that fail.

``database`` is the jobs' part of the ledger, by the statements of the product; ``depot`` a platform
with jobs of its own. ``drawn`` is what a seed asks for, ``askers`` who asks; ``receivers`` are told
the ends, and ``invariants`` is what holds.
"""
