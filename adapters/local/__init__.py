"""Warm workers on this machine, or on those of a Ray cluster: ``kind: local``.

``backend`` runs the calls on the workers that ``local_runtime.client`` knows; ``app_files`` finds
an app without running it, ``settings`` and ``ray_settings`` are what a policy says of them;
``answers`` makes replies and failures of what a worker says.
"""

from adapters.local.backend import Local

__all__ = ["Local"]
