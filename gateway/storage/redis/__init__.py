"""The shared store of several gateways, on Redis: one server, a cluster, or one behind Sentinels.

``store`` runs one script for each decision over the ``connection``, which pipelines:
``counters.lua`` counts what limits and budgets have left, ``holds.lua`` holds, extends and settles
a call's share of them, ``catch_up.lua`` takes what happened while the server could not be asked;
``window_table`` tells them of windows, ``replies`` reads what they say; ``resp`` is the protocol,
``replication`` what a server says of its part among others; ``breaker`` says when a server that
does not answer is asked again. ``primary`` says where the server is, and ``discovery``, which alone
needs redis-py, finds it among several.
"""
