"""Warm workers on this machine, or on those of a Ray cluster: ``kind: local``.

``backend`` runs the calls on the workers that ``local_runtime.client`` knows; ``app_files`` finds
an app without running it; ``settings``, ``bounds`` and ``ray_settings`` are what a policy says of
them; ``answers`` makes replies and failures of what a worker says. ``starting`` is the command line
that starts workers, ``hosting`` starts them for several processes that share them.
"""

from adapters.local.backend import Local

__all__ = ["Local"]
