"""The headers of a message in the format of Standard Webhooks, signed.

Source: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence

from standardwebhooks import Webhook


def headers_of(id: str, body: str, secrets: Sequence[bytes], now_at: float) -> dict[str, str]:
    """``secrets``: while one is exchanged for another, both, and a receiver may know either."""
    moment = datetime.datetime.fromtimestamp(int(now_at), datetime.UTC)
    signatures = [Webhook(secret).sign(id, moment, body) for secret in secrets]
    return {
        "webhook-id": id,
        "webhook-timestamp": str(int(now_at)),
        "webhook-signature": " ".join(signatures),
    }
