"""Replicate's own client, asked from a process of its own; prints what it saw as JSON.

REPLICATE_BASE_URL=... REPLICATE_API_TOKEN=... python -m tests.adapters.replicate.client
"""

from __future__ import annotations

import json
from typing import Any

import replicate
from replicate.exceptions import ReplicateError


def main() -> None:
    client = replicate.Client()
    seen: dict[str, Any] = {}
    held = client.deployments.predictions.create("o/n", {"echo": "hello"}, wait=5)
    seen["held"] = [held.status, held.output, (held.metrics or {}).keys() >= {"predict_time"}]
    plain = client.predictions.create(version="v1", input={"echo": "x"})
    plain.wait()
    seen["polled"] = [plain.status, plain.output]
    slow = client.predictions.create(version="v1", input={"sleep": 60})
    seen["cancelled"] = client.predictions.cancel(slow.id).status
    failed = client.predictions.create(version="v1", input={"fail": "boo"}, wait=5)
    seen["failed"] = [failed.status, failed.error]
    told = client.predictions.create(version="v1", input={"words": ["a", "b\nc"]})
    seen["streamed"] = [str(event) for event in told.stream()]
    seen["invalid"] = _status(lambda: client.predictions.create(version="v1", input={"echo": 7}))
    client.deployments.update("o", "n", min_instances=2)
    seen["deployment"] = client.deployments.get("o/n").current_release.configuration.min_instances
    seen["wrong key"] = _status(
        lambda: replicate.Client(api_token="wrong").predictions.get(plain.id)
    )
    print(json.dumps(seen))


def _status(ask: Any) -> int | None:
    try:
        ask()
    except ReplicateError as error:
        return int(error.status)
    return None


if __name__ == "__main__":
    main()
