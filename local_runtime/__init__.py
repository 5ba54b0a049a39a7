"""The warm GPU runtime: write ``init`` and ``handler``, and it keeps the model loaded.

The folder says in which process you are. ``app`` is imported by whoever writes a model. A call
begins in ``client``, the caller's side: in the gateway, or in ``server``, which serves one app
over HTTP by itself (on ``http``, the protocol that the gateway's own server speaks too). It
crosses to a ``worker``, a process of its own around one app, as the messages of ``protocol``,
which belongs to no side. The ``supervisor`` is the process that starts workers and restarts those
that die; ``ray`` is the same where a Ray cluster places them.

Other faces: ``hosted`` runs an app inside another platform's worker, and ``packaging`` writes the
files that take it there; ``potassium``, ``litserve`` and ``cog`` are those
platforms' names on this runtime. ``pytorch`` is for
apps that like it; the runtime imports none of it.

Small things that several processes share: ``clock``, ``background`` (tasks beside whoever started
them), ``status`` (how a worker is doing), ``webhooks`` (results of background calls, each sent by
``webhook_post`` to one of the ``public_addresses``), ``counters`` (metrics without locks),
``gc_tuning``, ``descriptors`` (the limit of open files), ``json_bodies`` and ``json_values``.

Stands alone: knows nothing of the gateway or its adapters.
"""

from local_runtime.app.request import File, InvalidInput, Request, Response
from local_runtime.app.runtime import Batch, Runtime, Step, Stepper

__all__ = ["Batch", "File", "InvalidInput", "Request", "Response", "Runtime", "Step", "Stepper"]
