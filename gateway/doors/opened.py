"""The doors of a gateway: their routes, and what is different below each."""

from __future__ import annotations

from typing import NamedTuple

from gateway.api.requests.door import Door
from gateway.api.routed_paths import RoutedPath
from gateway.doors.banana import endpoints as banana
from gateway.doors.replicate import endpoints as replicate
from gateway.doors.replicate.views import DIALECT as REPLICATE
from gateway.doors.replicate.views import shown as shown_by_replicate
from gateway.doors.runpod import endpoints as runpod
from gateway.doors.runpod.views import DIALECT as RUNPOD
from gateway.doors.runpod.views import shown as shown_by_runpod
from gateway.service import Gateway


class OpenDoors(NamedTuple):
    """What the application adds to its own."""

    routes: list[RoutedPath]
    doors: dict[str, Door]
    """The first part of a path -> what is different below it."""


def open_doors(gateway: Gateway) -> OpenDoors:
    """Its jobs are told from now on as the protocol shows them by which they came."""
    if gateway.jobs is not None:
        gateway.jobs.views[RUNPOD] = shown_by_runpod
        gateway.jobs.views[REPLICATE] = shown_by_replicate
    return OpenDoors(
        [*runpod.routes(gateway), *replicate.routes(gateway), *banana.routes(gateway)],
        {"runpod": runpod.DOOR, "replicate": replicate.DOOR, "banana": banana.DOOR},
    )
