"""Settings of ``kind: local`` for workers on more than one machine, placed by Ray."""

from __future__ import annotations

import re
from typing import Annotated, Literal

import msgspec

from adapters.settings import Duration, SettingError
from local_runtime.client.scaling import ScalingBounds

PROGRAM = "local_runtime.ray"
_ADDRESS = re.compile(r"auto\Z|(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+):[0-9]{1,5}\Z")


class Replicas(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many workers there are."""

    min: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 1
    """Workers that there always are."""
    max: Annotated[int, msgspec.Meta(ge=1, le=1000)] | None = None
    """The most that there may be; left out: as many as ``min``."""
    grow_after: Duration = 1.0
    """More calls than the workers can run at once, for so long, start more."""
    shrink_after: Duration = 300.0
    """Workers that were not needed for so long are ended."""

    def __post_init__(self) -> None:
        """Raises SettingError for a range that is empty."""
        if self.max is not None and self.max < self.min:
            raise SettingError(
                ("max",), f"must be at least min, which is {self.min}; found {self.max}"
            )

    @property
    def bounds(self) -> ScalingBounds:
        """The same in the words of the autoscaler."""
        return ScalingBounds(
            least=self.min,
            most=self.min if self.max is None else self.max,
            grow_after_s=self.grow_after,
            shrink_after_s=self.shrink_after,
        )


class RayWorkers(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Workers as actors of a Ray cluster."""

    engine: Literal["ray"]
    address: str = "auto"
    """The cluster's head as host:port; auto: the cluster that this machine belongs to."""
    replicas: Replicas = Replicas()
    """How many workers, and how that moves with the load."""
    gpus: Annotated[float, msgspec.Meta(ge=0, le=64)] = 1.0
    """GPUs that each worker is given; a part of one, such as 0.5, shares it."""
    cpus: Annotated[float, msgspec.Meta(ge=0, le=1024)] = 1.0
    """CPUs that Ray sets aside for each worker."""
    working_dir: str | None = None
    """A folder that Ray brings to every machine, in which ``app`` is found; left out: every
    machine has the app's file at the same path."""

    def __post_init__(self) -> None:
        """Raises SettingError for what Ray could not take."""
        if not _ADDRESS.match(self.address):
            raise SettingError(("address",), "expected auto, or the cluster's head as host:port")
        if self.gpus > 1 and self.gpus != int(self.gpus):
            raise SettingError(("gpus",), "more than one GPU must be a whole number of them")

    @property
    def options(self) -> dict[str, object]:
        """What the supervisor is told."""
        return {
            "address": self.address,
            "gpus": self.gpus,
            "cpus": self.cpus,
            "working-dir": self.working_dir,
        }


def refuse_what_ray_decides(device: str, standby: str) -> None:
    """Raises SettingError for settings of one machine's workers that mean nothing in a cluster."""
    if device not in {"auto", "cpu"}:
        message = "Ray says which GPUs a worker sees: expected auto or cpu"
        raise SettingError(("device",), message)
    if standby != "none":
        raise SettingError(("standby",), "there are no spares in a cluster; give it more replicas")
