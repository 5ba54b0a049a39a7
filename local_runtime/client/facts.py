"""What a worker last said of itself."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from local_runtime.client.start_times import stages_of, waited_for
from local_runtime.protocol.events import CacheStatus, Memory, Ready, Standby


class WorkerFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What its caller knows of one worker, but for what changes with every call: replaced whole
    whenever the worker says something new."""

    routes: frozenset[str] = frozenset()
    background: frozenset[str] = frozenset()
    """Those of the routes that are background handlers."""
    models: Mapping[str, tuple[str, ...]] = {}
    """Of its background routes that take models: the names."""
    says_started: bool = False
    """Its background calls are promised as Potassium's are."""
    described: bytes = b""
    """What its handlers take and give, as OpenAPI in JSON."""
    plain: Mapping[bytes, str] = {}
    """Routes whose calls are answered on their connection, as a request line spells them."""
    start_stages: Mapping[str, float] = {}
    """Seconds that each stage of its start took: see ``start_times``."""
    standby: Standby = "none"
    """What of that was done while it was a spare."""
    max_frame: int = 0
    """Bytes of the largest frame that it takes and sends."""
    memory: Memory | None = None
    """What it occupies; None before it has said so."""
    cache: CacheStatus | None = None
    """The models of its app; None for an app that declares none."""

    @property
    def start_s(self) -> float:
        """Seconds of its start that a caller would have waited for."""
        return waited_for(self.start_stages, self.standby)

    def served(self, ready: Ready, max_frame: int) -> WorkerFacts:
        """The same of a worker that has said what it serves; ``max_frame`` as both ends agree."""
        routes, background = frozenset(ready.routes), frozenset(ready.background)
        return msgspec.structs.replace(
            self,
            routes=routes,
            background=background,
            models=ready.models,
            says_started=ready.says_started,
            described=ready.described,
            plain={route.encode(): route for route in routes - background},
            start_stages=stages_of(ready),
            standby=ready.standby,
            max_frame=max_frame,
        )


UNKNOWN = WorkerFacts()
"""Of a worker that has not yet said what it serves."""
