"""The stand-alone runtime beside others of its kind: ``python -m benchmarks.runtime``.

``measure`` puts the ``contenders`` under the same load, each with the model of ``apps/``;
``alone`` and ``framed`` are the runtime by itself, ``inside`` what a call costs in its two socket
loops, ``bodies`` what large ones cost between caller and worker; ``report`` holds it all against
its targets.
"""
