"""How often the tokens of one key may be made and revoked: each time is a write into the store of
the keys, which every gateway reads, and an entry of the audit log, which stays."""

from __future__ import annotations

import math
from typing import Literal

from gateway.storage.base import Claim, Refused, SharedStore
from gateway.types import ApiError

A_MINUTE = 60
"""Of one key, over all gateways: as many at once, then evenly."""
_TTL_S = 60.0


async def count(
    shared: SharedStore, act: Literal["made", "revoked"], key_id: str, request_id: str
) -> None:
    """Counts one more. Raises ApiError 429, and StorageUnavailable."""
    claims = (Claim(f"tokens-{act}:{key_id}", "requests", "minute", A_MINUTE, 1),)
    hold_id = f"{request_id}/{act}"
    result = await shared.admit(hold_id, claims, _TTL_S)
    if isinstance(result, Refused):
        wait_s = max(1, math.ceil(result.retry_after_s))
        raise ApiError(
            429,
            "rate_limit_exceeded",
            f"{A_MINUTE} client tokens of one key can be {act} a minute. Try again in {wait_s} "
            "seconds. With its key all of them end.",
            type="rate_limit_error",
            headers={"Retry-After": str(wait_s)},
        )
    await shared.settle(hold_id, claims, {})
