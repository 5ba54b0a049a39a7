"""``kind: local``: real worker processes over the apps of ``tests/programs``.

One file a subject: deaths, cold starts, isolation, memory, models, spares, steppers, workers that
were attached, workers on a Ray cluster. ``backends`` and ``ray_clusters`` stand them up.
"""
