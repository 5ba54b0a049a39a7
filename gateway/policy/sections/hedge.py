"""The block ``hedge`` of a route: a slow call is asked of a second backend as well."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from adapters.settings import Duration

Quantile = Literal["p50", "p90", "p95", "p99"]
"""p95: 19 of 20 answers took no longer."""


class HedgeSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Left out: a call is at one backend at a time."""

    after: Annotated[Duration, msgspec.Meta(gt=0)] | Quantile = "p95"
    """How long the first backend has for its answer, or a stream's first token, before another one
    is asked as well: a time, or what was learned of its own answers of the model."""
    share: Annotated[float, msgspec.Meta(gt=0, le=100)] = 5.0
    """Calls that a second backend is asked for, in percent of the route's calls in the last minute;
    one a minute is always allowed."""
