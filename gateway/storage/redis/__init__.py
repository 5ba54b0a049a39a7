"""The shared store of several gateways, on a Redis server.

``store`` runs one script for each decision over the ``connection``, which pipelines:
``counters.lua`` counts what limits and budgets have left, ``holds.lua`` holds, extends and settles
a call's share of them; ``resp`` is the protocol; ``breaker`` says when a server that does not
answer is asked again.
"""
