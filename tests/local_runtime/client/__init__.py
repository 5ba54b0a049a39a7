"""The caller's side of workers, by a fake clock: discovery, scaling, residency, start times.

``pretended_worker`` is what listens at a worker's socket, as a test would have it.
"""
