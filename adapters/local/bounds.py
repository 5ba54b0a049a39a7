"""Settings of workers on this machine that come and go."""

from __future__ import annotations

from typing import Annotated

import msgspec

from adapters.settings import Duration, SettingError
from local_runtime.client.scaling import ScalingBounds


class LocalWorkers(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Workers of this machine between two bounds."""

    min: Annotated[int, msgspec.Meta(ge=0, le=64)] = 1
    """Workers that there always are; 0: none while nobody calls."""
    max: Annotated[int, msgspec.Meta(ge=1, le=64)]
    """The most that there may be."""
    grow_after: Duration = 1.0
    """More calls than the workers can run at once, for so long, start more."""
    shrink_after: Duration = 300.0
    """Workers that were not needed for so long are ended."""

    def __post_init__(self) -> None:
        """Raises SettingError for a range that is empty."""
        if self.max < self.min:
            text = f"must be at least min, which is {self.min}; found {self.max}"
            raise SettingError(("max",), text)

    @property
    def bounds(self) -> ScalingBounds:
        """The same in the words of the autoscaler."""
        return ScalingBounds(
            least=self.min,
            most=self.max,
            grow_after_s=self.grow_after,
            shrink_after_s=self.shrink_after,
        )
