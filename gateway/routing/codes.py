"""Why a backend gets a call, and why one does not."""

from __future__ import annotations

from typing import Literal

RefusalCode = Literal[
    "drained",
    "not_ready",
    "cooling_down",
    "returning",
    "load_failed",
    "task_unsupported",
    "no_streaming",
    "too_large",
    "lacks_ability",
    "context_too_small",
    "over_max_price",
    "queue_full",
]

ReasonCode = Literal[
    "RES_FREE",  # reserved capacity was free
    "RES_WAIT_OK",  # reserved capacity frees up within the SLO
    "RES_LOAD",  # reserved capacity brings the model into memory within the SLO
    "SPILL_WARM",  # reserved capacity would break the SLO or is away; a warm worker elsewhere
    "SPILL_COLD",  # the same, and a worker must start
    "WARM",  # no reserved backend serves the model; a warm worker
    "COLD",  # no reserved backend serves the model; a worker must start
    "LEAST_DELAY",  # nothing meets the SLO; the shortest predicted delay
    "FASTEST",  # the route orders by delay
    "LISTED",  # the route keeps the listed order
    "WEIGHTED",  # the route drew by weight
    "FAILOVER",  # the first choice failed before it answered
    "HEDGE",  # the first choice was slow, and this one answered sooner
    "REGION",  # it runs in the caller's region, which goes first
    "LAST_RESORT",  # it failed a moment ago or says that it is not well, and no other may be asked
    "NONE",  # no backend may be asked
]
