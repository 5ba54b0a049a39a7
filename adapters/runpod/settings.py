"""What a policy may say of a RunPod endpoint, and the addresses that follow from it."""

from __future__ import annotations

import re
from typing import Any, Literal

import msgspec

from adapters.http.api import bearer, merged
from adapters.http.client import Origin
from adapters.settings import (
    Count,
    Duration,
    HttpSettings,
    HttpUrl,
    PositiveDuration,
    Secret,
    SecretStr,
    SettingError,
    UrlPath,
    check_webhook,
)

BALANCER_HOLD = 330.0
"""Seconds after which a load-balancing endpoint ends a request."""
_ENDPOINT = re.compile(r"[A-Za-z0-9_-]{1,63}\Z")
"""It is a part of a path, and of the name of a host where the endpoint balances loads."""


class RunPodSettings(HttpSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One endpoint, and how its workers are reached (https://docs.runpod.io/serverless)."""

    endpoint: str
    """The endpoint's id."""
    api_key: SecretStr
    mode: Literal["queue", "openai", "load_balancer"] = "queue"
    """queue: every call is a job. openai: OpenAI's calls go to a vLLM worker's own route,
    /openai/v1, and the others are jobs. load_balancer: an endpoint of that type, which has no
    queue."""
    base_url: HttpUrl = "https://api.runpod.ai/v2"
    """The job plane."""
    balancer_url: HttpUrl | None = None
    """Where a load-balancing endpoint is; left out: https://ENDPOINT.api.runpod.ai."""
    infer_path: UrlPath | None = None
    """Where a load-balancing endpoint takes /v1/infer calls, such as /generate; left out: it
    takes none."""
    ping_path: UrlPath = "/ping"
    """A load-balancing endpoint's health path: 200 ready, 204 still starting."""
    management_url: HttpUrl = "https://api.runpod.io/v2"
    """The management plane; note the other domain."""
    wait: Duration = 5.0
    """How long the platform holds one submit, 1s to 300s; afterwards it is polled. A call can be
    cancelled only once this has passed."""
    poll_every: PositiveDuration = 0.25
    """Between two polls of a young job; old ones are asked less often."""
    stream_every: PositiveDuration = 0.15
    """Between two polls of a stream that flows."""
    timeout: PositiveDuration = 600.0
    """The longest that one call may take; with the caller's deadline it becomes the job's own
    executionTimeout and ttl."""
    execution_timeout: PositiveDuration | None = None
    """The longest that a job may run, its wait in the queue not counted; left out: as long as
    anybody waits for it."""
    retries: int = 0
    """How often a job that failed is run again under its own id. Each run is charged."""
    webhook: SecretStr | None = None
    """Where the platform posts the end of every job, unsigned and up to three times: a URL that
    nobody can guess, for a receiver that knows a job's id again."""
    warm_for: Duration = 5.0
    """The endpoint's idle time-out: tells a cold start from a wait in the queue."""
    max_workers: Count | None = None
    """The most calls that the endpoint runs at once."""
    scale_max: Count | None = None
    """workers.max, told together with every workers.min: the platform sets it to 0 after idle
    days and never raises it by itself."""
    low_priority: bool = False
    """Do not let these jobs start workers."""
    ping_input: dict[str, Any] = msgspec.field(default_factory=lambda: {"spillgate_ping": True})
    """The input of the job that wakes a worker."""
    keep_alive: Duration = 30.0
    """How long an unused connection is kept."""
    max_connections: Count = 400
    """Calls in flight, as the platform bounds /runsync, /status and /stream."""

    def __post_init__(self) -> None:
        if _ENDPOINT.match(self.endpoint) is None:
            text = "is the endpoint's id: 1 to 63 letters, digits, - and _"
            raise SettingError(("endpoint",), text)
        if not 0 <= self.retries <= 10:
            raise ValueError("retries is 0 to 10")
        for url in (self.base_url, self.balancer, self.management_url):
            Origin(url)
        if self.webhook is not None:
            check_webhook(self.webhook.reveal())

    @property
    def endpoint_url(self) -> str:
        """Where the endpoint's jobs are."""
        return f"{self.base_url.rstrip('/')}/{self.endpoint}"

    @property
    def balancer(self) -> str:
        """Where a load-balancing endpoint is."""
        return self.balancer_url or f"https://{self.endpoint}.api.runpod.ai"

    @property
    def secrets(self) -> tuple[Secret | None, ...]:
        """All that no message may hold."""
        return self.api_key, self.webhook

    @property
    def auth(self) -> dict[str, str]:
        """What every request to the platform carries."""
        return merged(self.headers, bearer(self.api_key))
