"""What Baseten's two services are asked, each as a value: a model's own host, and the management
API.

Source: https://docs.baseten.co/reference/inference-api and .../management-api, as of 2026-10.
Assumed: an environment other than production and development is read and set at
``/models/{model}/environments/{name}``, where ``current_deployment`` is the one that serves.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from adapters.errors import BackendError, FailureClass
from adapters.http.client import Origin
from adapters.http.failures import clean
from adapters.names import PathName
from adapters.settings import (
    Duration,
    HttpSettings,
    HttpUrl,
    PositiveDuration,
    Secret,
    SecretStr,
    check_webhook,
)
from adapters.shapes.error_words import words_in
from adapters.shapes.json_texts import read, read_if
from adapters.types import JobState, Probe, Reply, Usage

ASYNC_LIMIT = 256 * 1024
"""Bytes of one body that ``async_predict`` takes."""
LONGEST_SYNC = 1200.0
"""Seconds that the platform holds a ``predict``."""
_QUEUE_TIMES = (10, 259_200)
_ENDED = ("SUCCEEDED", "FAILED", "EXPIRED", "CANCELED", "WEBHOOK_FAILED")
_FAILURES = {  # only a call that still waits can be cancelled
    "FAILED": (FailureClass.FAILED, "The model failed."),
    "EXPIRED": (FailureClass.NOT_STARTED, "The call found no free replica in time."),
    "CANCELED": (FailureClass.NOT_STARTED, "The call was cancelled there before it began."),
    "WEBHOOK_FAILED": (
        FailureClass.FAILED,
        "The model has run, and its output is lost: the webhook did not take it.",
    ),
}
_STARTING = ("BUILDING", "DEPLOYING", "LOADING_MODEL", "WAKING_UP", "UPDATING")


class BasetenSettings(HttpSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One model of an organization at Baseten (https://docs.baseten.co)."""

    model: PathName
    """The model's id."""
    api_key: SecretStr
    environment: PathName = "production"
    """The environment that is called; development is the development deployment."""
    deployment: PathName | None = None
    """The id of one deployment, called instead of an environment."""
    regional: bool = False
    """The environment has a host of its own, model-{id}-{environment}."""
    openai: bool = False
    """The model's input is the body of an OpenAI call and its output the answer; otherwise it
    takes /v1/infer calls alone."""
    webhook: str | None = None
    """Calls go to async_predict, and their outputs to this https URL and nowhere else: the caller
    is told that it has run. Left out: calls are answered."""
    priority: Literal[0, 1, 2] = 1
    """Of calls with a webhook; 0 goes first."""
    base_url: HttpUrl = ""
    """Left out: the model's own host below api.baseten.co."""
    management_url: HttpUrl = "https://api.baseten.co/v1"
    """Where the management API is."""
    warm_for: Duration = 900.0
    """How long a replica stays up unused: the deployment's scale_down_delay."""
    wake_wait: Duration = 600.0
    """The longest that a replica may take to come up for a ping."""
    poll_every: PositiveDuration = 1.0
    """Between two questions about a call with a webhook; the platform takes 20 a second."""
    timeout: PositiveDuration = LONGEST_SYNC
    """The longest that one call may take; the platform ends one without a webhook after 20m."""
    keep_alive: Duration = 30.0
    """How long an unused connection is kept."""

    def __post_init__(self) -> None:
        Origin(self.url())
        Origin(self.management_url)
        if not (self.model.isascii() and self.model.isalnum()):
            raise ValueError("a model is named by its id: letters and digits")
        if self.webhook is not None:
            check_webhook(self.webhook, ("https",))
        if self.webhook is None and self.timeout > LONGEST_SYNC:
            raise ValueError("a call without a webhook may take 20m at most")
        if self.regional and self.deployment is not None:
            raise ValueError("a deployment has no regional host")

    def url(self) -> str:
        """Where the model's calls go."""
        place = f"-{self.environment}" if self.regional else ""
        return self.base_url or f"https://model-{self.model}{place}.api.baseten.co"

    def prefix(self) -> str:
        """Where the paths of what is called begin."""
        if self.regional:
            return ""
        if self.deployment is not None:
            return f"/deployment/{self.deployment}"
        if self.environment == "development":
            return "/development"
        return f"/environments/{self.environment}"

    def managed(self) -> tuple[str, bool]:
        """Its path at the management API, and whether that is an environment's."""
        model = f"/models/{self.model}"
        if self.deployment is not None:
            return f"{model}/deployments/{self.deployment}", False
        if self.environment in ("production", "development"):
            return f"{model}/deployments/{self.environment}", False
        return f"{model}/environments/{self.environment}", True


# --- calls with a webhook -------------------------------------------------------------------------


def submission(settings: BasetenSettings, body: bytes, left: float) -> bytes:
    """The body of ``async_predict``. The platform would run a failed call again by itself, which
    would be charged again: one attempt. ``left``: seconds that the caller waits."""
    shortest, longest = _QUEUE_TIMES
    envelope = {
        "webhook_endpoint": settings.webhook,
        "priority": settings.priority,
        "max_time_in_queue_seconds": int(max(shortest, min(left, longest))),
        "inference_retry_config": {"max_attempts": 1},
    }
    return b'{"model_input":%b,%b' % (body, msgspec.json.encode(envelope)[1:])


class AsyncRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A call with a webhook, as the platform tells of it
    (https://docs.baseten.co/reference/inference-api/status-endpoints)."""

    request_id: str = ""
    status: str = ""
    webhook_status: str | None = None
    errors: Any = None

    @property
    def ended(self) -> bool:
        """An unknown status has not: the caller's deadline bounds it."""
        return self.status in _ENDED

    def receipt(self, usage: Usage, secrets: tuple[Secret, ...]) -> bytes:
        """What the caller is told of a call that has run. Raises why it has not."""
        failure = _FAILURES.get(self.status)
        if failure is not None:
            kind, message = failure
            said = clean(words_in(self.errors), secrets)
            used = None if kind is FailureClass.NOT_STARTED else usage
            raise BackendError(kind, f"{message} {said}".strip(), usage=used)
        known = {"request_id": self.request_id, "status": self.status}
        return msgspec.json.encode({**known, "webhook_status": self.webhook_status})


def async_request(body: bytes) -> AsyncRequest:
    """Raises FAILED for anything that is none."""
    return read(body, AsyncRequest)


def state_of(found: AsyncRequest, usage: Usage, secrets: tuple[Secret, ...]) -> JobState:
    """How a job stands. Raises NOT_STARTED for one that found no replica in its time, or was
    cancelled before it did."""
    if not found.ended:
        return JobState(status="queued" if found.status == "QUEUED" else "running")
    return JobState(status="done", reply=Reply(body=found.receipt(usage, secrets), usage=usage))


# --- replicas -------------------------------------------------------------------------------------


class _Deployment(msgspec.Struct):
    status: str = ""
    active_replica_count: int | None = None


class _Managed(_Deployment):
    current_deployment: _Deployment | None = None


def probe_of(body: bytes) -> Probe:
    """A deployment's state; of an environment, that of the deployment that serves it."""
    managed = read_if(body, _Managed)
    if managed is None:
        return Probe(ready=False, detail="the deployment's state is unknown")
    deployment = managed.current_deployment or managed
    active = deployment.status == "ACTIVE"
    warm = deployment.active_replica_count
    if warm is None:
        warm = int(active)
    return Probe(
        ready=warm > 0 and deployment.status in ("ACTIVE", "UPDATING"),
        warm_workers=warm,
        starting_workers=int(deployment.status in _STARTING),
        detail="" if active else f"the deployment is {clean(deployment.status) or 'unknown'}",
    )
