"""Which spares stand behind the workers. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from local_runtime.protocol.events import Standby
from local_runtime.supervisor.placement import Placement
from local_runtime.supervisor.worker_process import Launch


def spare_launches(workers: Sequence[Launch], standby: Standby) -> list[Launch]:
    """One spare that has imported the app, for all of ``workers``; or one that has loaded the
    model for each set of devices that they see, since it cannot be moved to others."""
    if standby == "none":
        return []
    placements = list(dict.fromkeys(worker.placement for worker in workers))
    if standby == "imported" and len(placements) > 1:
        placements = [Placement()]
    return [
        msgspec.structs.replace(
            workers[0], index=index, socket="", placement=placement, standby=standby
        )
        for index, placement in enumerate(placements)
    ]
