"""The shared store of several gateways, on a Redis server.

``store`` runs one script for each decision (``counters.lua``, ``holds.lua``) over ``connection``,
which pipelines; ``resp`` is the protocol, ``breaker`` says when a dead server is asked again.
"""
