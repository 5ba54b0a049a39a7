"""Errors by the statuses that Banana's client knows. Pure.

It takes 400 for a quota that is used up and 503 for a server that is away, and sends both again for
five minutes; 401, 404, 413 and 500 it raises with their text.
"""

from __future__ import annotations

from gateway.api.requests.door import ToldError
from gateway.types import ApiError

_STATUSES = {400: 422, 429: 400, 502: 500}


def told(error: ApiError) -> ToldError:
    """What is wrong with a request is 422, which is not sent again; a rate that is used up is 400,
    which is."""
    status = _STATUSES.get(error.status, error.status)
    return ToldError(status, {"error": error.message, "code": error.code})
