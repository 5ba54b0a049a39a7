"""Spillgate beside a bare nginx, routers and other gateways: ``python -m benchmarks.gateway``.

``measure`` is the run: the ``contenders/`` in turns, each in the ``environments`` that it needs
and at the ``target`` that all share, under the ``load`` of wrk, then under streams
(``stream_client``). What they stand before is the ``upstream``, an nginx or the ``stream_server``.
Beside throughput: ``latency``, CPU and memory (``accounting``), Spillgate ``alone``. ``processes``
starts and ends it all; ``figures`` is the arithmetic, ``targets`` what it is held to, ``machine``
what it was measured on, ``table`` the report.
"""
