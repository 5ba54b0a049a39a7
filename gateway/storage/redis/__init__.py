"""The shared store of several gateways, on a Redis server.

``store`` runs one script for each decision (``counters.lua``, ``holds.lua``) over the
``connection``, which pipelines; ``resp`` is the protocol; ``breaker`` says when a server that does
not answer is asked again.
"""
