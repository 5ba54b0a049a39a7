"""Which spares stand behind the workers. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from local_runtime.protocol.events import Ahead
from local_runtime.supervisor.placement import Seat
from local_runtime.supervisor.worker_process import Launch


def spare_launches(workers: Sequence[Launch], ahead: Ahead) -> list[Launch]:
    """One spare that has imported the app, for all of ``workers``; or one that has loaded the
    model for each set of devices that they see, since it cannot be moved to others."""
    if ahead == "none":
        return []
    seats = list(dict.fromkeys(worker.seat for worker in workers))
    if ahead == "imported" and len(seats) > 1:
        seats = [Seat()]
    return [
        msgspec.structs.replace(workers[0], index=index, socket="", seat=seat, ahead=ahead)
        for index, seat in enumerate(seats)
    ]
