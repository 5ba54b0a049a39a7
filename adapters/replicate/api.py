"""The requests that Replicate's cloud API takes, each answered by a value."""

from __future__ import annotations

import asyncio
import math
import re
from typing import Any
from urllib.parse import urlsplit

import msgspec

from adapters.base import Clock
from adapters.buckets.sigv4 import LONGEST_S
from adapters.buckets.urls import Bucket
from adapters.errors import BackendError, FailureClass
from adapters.http.api import EVENTS, Api, bearer, merged
from adapters.http.client import Origin
from adapters.http.endpoint_words import about_the_endpoint, no_job
from adapters.http.predictions import Prediction, decode_prediction
from adapters.http.response import Body, Response
from adapters.names import Name, OwnedName
from adapters.replicate.uploads import Uploads
from adapters.settings import (
    ByteSize,
    Count,
    Duration,
    HttpSettings,
    HttpUrl,
    PositiveDuration,
    Secret,
    SecretStr,
)
from adapters.shapes.error_words import message_of
from adapters.shapes.json_texts import read_if

_ASK_S = 10.0
_ANSWER_GRACE_S = 10.0
"""Past its wait, after which a held create is given up."""
_SHORTEST_LIFE = 5
_MAX_STREAM_HOSTS = 8
_PLATFORM = ".replicate.com"
"""The domain of api. and stream.: the key is sent to no other, whatever an answer names."""
_RESETS_IN = re.compile(r"resets? in ~?\s*(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>ms|s|m)", re.I)
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0}
_FIELD = re.compile(r"\binput\.(?P<field>[A-Za-z_]\w*)")


class ReplicateSettings(HttpSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is run at Replicate, and how (https://replicate.com/docs/reference/http)."""

    api_key: SecretStr
    model: OwnedName | None = None
    """An official model, as owner/name. Give one of model, deployment and version."""
    deployment: OwnedName | None = None
    """A deployment of yours, as owner/name; the only one whose instances can be kept warm."""
    version: Name | None = None
    """A version's id, or owner/name:id."""
    openai: bool = False
    """The model's input is the body of an OpenAI call and its output the answer; otherwise it
    takes /v1/infer calls alone."""
    base_url: HttpUrl = "https://api.replicate.com/v1"
    """Where the platform is."""
    webhook: SecretStr | None = None
    """Where the platform posts the end of every prediction, signed."""
    wait: Duration = 5.0
    """How long the platform holds one create, at most 60s; afterwards it is polled. A call can
    be cancelled only once this has passed."""
    poll_every: PositiveDuration = 0.5
    """Between two polls of a young prediction; old ones are asked less often."""
    timeout: PositiveDuration = 600.0
    """The longest that one call may take; with the caller's deadline it becomes Cancel-After."""
    warm_for: Duration = 60.0
    """How long an instance stays up unused: tells a cold start from a wait in the queue."""
    max_workers: Count | None = None
    """The most calls that it runs at once: a deployment's max_instances."""
    stall_timeout: PositiveDuration = 120.0
    """The longest silence inside a stream; the platform itself closes one after 30s."""
    keep_alive: Duration = 30.0
    """How long an unused connection is kept."""
    payloads: str | None = None
    """Where files of large inputs are put, to go by URL:
    s3://BUCKET/PREFIX?endpoint=https://HOST&region=REGION."""
    payloads_key_id: SecretStr | None = None
    """The object store's access key id."""
    payloads_secret: SecretStr | None = None
    """The object store's secret access key."""
    inline: ByteSize = 256_000
    """With payloads: the largest input that is sent as it is."""

    def __post_init__(self) -> None:
        given = [self.model, self.deployment, self.version]
        if sum(one is not None for one in given) != 1:
            raise ValueError("give one of model, deployment and version")
        Origin(self.base_url)
        if self.payloads is not None:
            Bucket.from_url(self.payloads)
            if self.payloads_key_id is None or self.payloads_secret is None:
                raise ValueError("payloads needs payloads_key_id and payloads_secret")

    @property
    def secrets(self) -> tuple[Secret | None, ...]:
        """All that no message may hold."""
        return self.api_key, self.webhook, self.payloads_key_id, self.payloads_secret

    def new_payloads(self, clock: Clock) -> Uploads | None:
        """The object store; its URLs are good for as long as a call may take, and an hour."""
        if self.payloads is None or self.payloads_key_id is None or self.payloads_secret is None:
            return None
        return Uploads(
            Bucket.from_url(self.payloads),
            self.payloads_key_id,
            self.payloads_secret,
            clock,
            good_for=min(self.timeout + 3600.0, LONGEST_S),
        )


class _Configuration(msgspec.Struct):
    min_instances: int


class _Release(msgspec.Struct):
    configuration: _Configuration


class _Deployment(msgspec.Struct):
    current_release: _Release


class ReplicateApi(Api):
    """What is asked of the platform. Raises BackendError and nothing else."""

    def __init__(self, settings: ReplicateSettings, clock: Clock) -> None:
        super().__init__(
            settings.base_url,
            clock,
            settings,
            headers=merged(settings.headers, bearer(settings.api_key)),
            secrets=settings.secrets,
        )
        self._settings = settings
        self._streams: dict[str, Api] = {}
        self._create_path, self._about_path = _paths(settings)
        self._version = b""
        if settings.version is not None:
            self._version = b'"version":%b,' % msgspec.json.encode(settings.version)
        self._hook = b"" if settings.webhook is None else _hook(settings.webhook)

    def __repr__(self) -> str:
        return ", ".join(map(repr, (self.client, *self._streams.values())))

    async def aclose(self) -> None:
        """Closes the streams' connections too."""
        await super().aclose()
        for streams in self._streams.values():
            await streams.aclose()

    # --- predictions -----------------------------------------------------------------------

    async def create(
        self, model_input: bytes, deadline: float, *, hold: bool
    ) -> asyncio.Future[Response]:
        """Submits. The answer outlives whoever waits for it, for it alone names the prediction.

        ``hold`` asks the platform to keep the request until the prediction has ended; it is held
        a little less than the caller waits, so that the id comes before he leaves.
        """
        now = self.clock.monotonic()
        wait = int(min(self._settings.wait, 60.0, deadline - now - 1.0)) if hold else 0
        headers = {"Cancel-After": f"{max(_SHORTEST_LIFE, math.ceil(deadline - now))}s"}
        if wait >= 1:
            headers["Prefer"] = f"wait={wait}"
        head = self.head("POST", self._create_path, headers)
        body = b'{%b"input":%b%b}' % (self._version, model_input, self._hook)
        give_up = min(deadline, now + max(wait, 0) + _ANSWER_GRACE_S)
        return await self.client.submit(head, body, deadline=give_up)

    def created(self, response: Response) -> Prediction:
        """The prediction that a create's answer names; its status says how it stands, not the
        code, which is 201 or 202 as it likes. Raises what a refusal means, and AMBIGUOUS where
        the prediction runs and has no name. Words in its place mean that there is none."""
        body = self.checked(response).body
        answer = read_if(body, dict[str, Any]) or {}
        if not (answer.get("status") or answer.get("id")) and (
            refused := no_job(answer, self.secrets)
        ):
            raise refused
        prediction = decode_prediction(body)
        if not prediction.final and not prediction.id:
            raise BackendError(
                FailureClass.AMBIGUOUS, "The platform took the call and did not name it."
            )
        return prediction

    async def get(self, prediction_id: str, deadline: float) -> Prediction:
        """A prediction as it stands now."""
        path = f"/predictions/{prediction_id}"
        response = await self.ask("GET", path, within=_ASK_S, deadline=deadline)
        return decode_prediction(response.body)

    async def list_page(self, path: str) -> bytes:
        """A page of the account's predictions."""
        return (await self.ask("GET", path, within=_ASK_S)).body

    async def cancel(self, prediction_id: str) -> Prediction | None:
        """The prediction as it was stopped; None where the platform no longer knows it."""
        path = f"/predictions/{prediction_id}/cancel"
        response = await self.ask("POST", path, b"", within=_ASK_S, also=(404,))
        return None if response.status == 404 else decode_prediction(response.body)

    async def open_stream(self, url: str, last_id: str | None, deadline: float) -> Body:
        """The events of a prediction, from after ``last_id`` on. Raises FAILED for an address that
        is not the platform's."""
        if not same_site(url, self._settings.base_url):
            raise BackendError(FailureClass.FAILED, "The stream is not at the platform's hosts.")
        more = {**EVENTS, "Cache-Control": "no-store"}
        if last_id is not None:
            more["Last-Event-ID"] = last_id
        parts = urlsplit(url)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        try:
            streams = self._streams_at(f"{parts.scheme}://{parts.netloc}")
            head = streams.head("GET", path, more)
        except (ValueError, UnicodeEncodeError):
            raise BackendError(
                FailureClass.FAILED, "The stream's address cannot be used."
            ) from None
        return await streams.open(head, None, deadline)

    # --- what the calls run on -------------------------------------------------------------

    async def min_instances(self) -> int | None:
        """Instances that a deployment keeps, None of what is no deployment. Raises where the
        model, the deployment or the key is not known there."""
        found = read_if((await self.ask("GET", self._about_path)).body, _Deployment)
        return None if found is None else found.current_release.configuration.min_instances

    async def keep_instances(self, minimum: int) -> None:
        """Sets a deployment's ``min_instances``. Raises UNSUPPORTED for what is none."""
        if self._settings.deployment is None:
            raise BackendError(
                FailureClass.UNSUPPORTED, "Only a deployment's instances can be kept warm."
            )
        body = msgspec.json.encode({"min_instances": minimum})
        await self.ask("PATCH", self._about_path, body, within=_ASK_S)

    def refusal(self, response: Response) -> BackendError:
        """The platform may say in prose alone when to come again, and which field is at fault."""
        error = about_the_endpoint(super().refusal(response), no_handlers=True)
        said = message_of(response.body)
        field = _FIELD.search(said) if error.failure is FailureClass.INVALID else None
        error.param = field["field"] if field else None
        if error.retry_after is None:
            error.retry_after = delay_in(said)
        return error

    def _streams_at(self, address: str) -> Api:
        """Raises FAILED where there are too many, ValueError for an address that is none."""
        streams = self._streams.get(address)
        if streams is None:
            if len(self._streams) >= _MAX_STREAM_HOSTS:
                raise BackendError(FailureClass.FAILED, "The platform streams from many hosts.")
            streams = Api(
                address, self.clock, self._settings, headers=self.headers, secrets=self.secrets
            )
            self._streams[address] = streams
            streams.start()
        return streams


def delay_in(said: str) -> float | None:
    """Seconds in "Your rate limit resets in ~30s.": the platform may say it in prose alone."""
    found = _RESETS_IN.search(said)
    return None if found is None else float(found["number"]) * _SECONDS[found["unit"].lower()]


def same_site(url: str, base_url: str) -> bool:
    """Whether a URL is at the base's own host, or both are the platform's, over no less than it."""
    there, here = urlsplit(url), urlsplit(base_url)
    if there.scheme != here.scheme and there.scheme != "https":
        return False
    hosts = (there.hostname or "", here.hostname or "")
    return hosts[0] == hosts[1] or all(host.endswith(_PLATFORM) for host in hosts)


def _hook(url: Secret) -> bytes:
    """Only the last event is asked for: it alone is sent again where it was not taken."""
    quoted = msgspec.json.encode(url.reveal())
    return b',"webhook":%b,"webhook_events_filter":["completed"]' % quoted


def _paths(settings: ReplicateSettings) -> tuple[str, str]:
    """Where predictions are made, and where what they run on is asked about."""
    if settings.deployment is not None:
        return (
            f"/deployments/{settings.deployment}/predictions",
            f"/deployments/{settings.deployment}",
        )
    if settings.model is not None:
        return f"/models/{settings.model}/predictions", f"/models/{settings.model}"
    return "/predictions", "/account"
