"""Doors for those who leave other platforms: their protocols, as their own clients speak them.

All of them stand on durable jobs, with the keys, limits, holds, routes and ledger of every call.
``requests`` is what they share, ``runpod``, ``replicate`` and ``banana`` are protocols, and
``opened`` puts them before the gateway.
"""
