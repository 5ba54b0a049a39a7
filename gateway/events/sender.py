"""Sends what waits in the outbox, for each endpoint by itself: one that hangs holds up no other.

A message is taken by a lease, sent, and marked. A process that dies between leaves it to whoever
takes it next, by the same id: at least once. While an endpoint fails it is asked by one message at
a time, after a rest.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TypeVar

from gateway.clock import Clock
from gateway.events.attempts import MessageClient, NotReceived, Receiver, ReceiverAnswer
from gateway.events.bodies import USAGE, USAGE_BATCH, usage_message
from gateway.events.pauses import pause_s, rest_s
from gateway.events.signatures import headers_of
from gateway.metrics import Metrics
from gateway.policy.sections.webhooks import WebhookEndpoint, WebhookSettings, secret_bytes
from gateway.storage.base import LedgerRow, StorageUnavailable
from gateway.storage.outbox import Attempted, Delivery, Message, Outbox
from gateway.tasks import BackgroundTasks
from gateway.types import JOB_RECEIVERS

log = logging.getLogger("spillgate")
T = TypeVar("T")

_LOOK_EVERY_S = 1.0
AT_ONCE = 8
"""Messages that are on their way to one endpoint."""
_RECEIVERS_AT_ONCE = 32
"""Receivers of one key's jobs that are sent to: it may name as many as it likes."""
_LEASE_S = 10.0
"""Beyond the longest attempt, until another gateway takes a message that was never marked."""
_GONE = 410
"""By it a receiver says that it wants no more: Standard Webhooks, "Operational considerations"."""

MakeClient = Callable[[], MessageClient]


class WebhookSender:
    """Belongs to one gateway; several may share an outbox.

    ``settings``  those in force.
    ``client``    makes the client, on a thread, when there is something to send.
    """

    def __init__(
        self,
        *,
        outbox: Outbox,
        settings: Callable[[], WebhookSettings],
        client: MakeClient,
        clock: Clock,
        metrics: Metrics,
        draw: random.Random,
    ) -> None:
        self._outbox = outbox
        self._settings = settings
        self._make_client = client
        self._client: MessageClient | None = None
        self._clock = clock
        self._metrics = metrics
        self._draw = draw
        self._tasks = BackgroundTasks()
        self._busy: set[str] = set()
        self._at = Counter[str]()
        """Owner -> endpoints that are being sent to."""
        self._failures: dict[str, int] = {}
        """Endpoint -> attempts that failed since the last one that did not."""
        self._resting: dict[str, float] = {}
        self._failing = ""
        self._subscribed: dict[str, bool] | None = None

    async def run(self) -> None:
        """Sends for ever."""
        while True:
            await self.look()
            await self._clock.sleep(_LOOK_EVERY_S)

    async def look(self) -> None:
        """Begins to send to each endpoint for which something is due."""
        await self.subscribe()
        settings = self._settings()
        if not settings.endpoints and settings.jobs is None:
            return
        due = await self._stored(self._outbox.due()) or set()
        known = {name for name in due if self._settings().receiver(name) is not None}
        for name in sorted(known - self._busy):
            is_rested = self._clock.monotonic() >= self._resting.get(name, 0.0)
            if is_rested and self._at[_owner_of(name)] < _RECEIVERS_AT_ONCE:
                self._busy.add(name)
                self._at[_owner_of(name)] += 1
                self._tasks.run(self.serve(name))

    async def subscribe(self) -> None:
        """Tells the store whom the policy in force has, where that is news."""
        endpoints = self._settings().endpoints
        wanted = {name: "usage" in one.events for name, one in endpoints.items()}
        if wanted != self._subscribed:
            await self._stored(self._outbox.subscribe(wanted))
            if not self._failing:
                self._subscribed = wanted

    async def idle(self) -> None:
        """Waits until nothing is on its way."""
        await self._tasks.drain()

    async def aclose(self) -> None:
        """What is on its way is given up: it is sent again, by whoever takes it next."""
        await self._tasks.cancel()
        if self._client is not None:
            await self._client.aclose()

    # --- one endpoint -------------------------------------------------------------------------

    async def serve(self, name: str) -> None:
        """Sends what is due to one endpoint, until nothing is, or it fails."""
        try:
            while await self._stored(self._round(name)):
                pass
        finally:
            self._busy.discard(name)
            self._at[_owner_of(name)] -= 1
            self._at += Counter()  # without those that have none

    async def _round(self, name: str) -> bool:
        """Sends what is due, a few at once; False where nothing more is to be done now."""
        settings = self._settings()
        endpoint = settings.receiver(name)
        if endpoint is None:
            return False
        gathered = await self._gather(name, endpoint)
        most = 1 if self._failures.get(name) else AT_ONCE
        messages = await self._outbox.take(name, most, settings.timeout + _LEASE_S)
        if not messages:
            return False
        sending = (self._attempt(endpoint, settings, message) for message in messages)
        attempted = await asyncio.gather(*sending)
        await self._outbox.mark(attempted)
        well = await self._learn(name, attempted)
        # What is not a full round's work waits for the next look, and comes in fewer messages.
        return well and (gathered or len(messages) == most)

    async def _gather(self, name: str, endpoint: WebhookEndpoint) -> bool:
        """No more than will be sent soon: what waits for long waits as a row of a few bytes. True
        where there was so much."""
        if "usage" not in endpoint.events:
            return False
        most = AT_ONCE * endpoint.batch
        make = partial(_usage_of, name, endpoint.batch > 1)
        return await self._outbox.gather(name, most, endpoint.batch, make) >= most

    async def _attempt(
        self, endpoint: WebhookEndpoint, settings: WebhookSettings, message: Message
    ) -> Attempted:
        begun = self._clock.monotonic()
        status, error, asked_s = 0, "", None
        try:
            answer = await self._post(endpoint, settings, message)
            status, asked_s = answer.status, answer.retry_after_s
            error = "" if answer.taken else f"status {status}"
        except NotReceived as unanswered:
            error = str(unanswered)
        delivery = Delivery(
            id=message.id,
            endpoint=message.endpoint,
            topic=message.topic,
            attempt=message.attempts,
            took_s=self._clock.monotonic() - begun,
            status=status,
            error=error,
        )
        self._metrics.notices.webhooks.labels(
            _label(message.endpoint), "failed" if error else "taken"
        ).inc()
        if not error:
            return Attempted(delivery=delivery, keep=message.topic not in (USAGE, USAGE_BATCH))
        again_s = pause_s(message.attempts, self._draw.random(), asked_s)
        return Attempted(delivery=delivery, again_s=again_s)

    async def _post(
        self, endpoint: WebhookEndpoint, settings: WebhookSettings, message: Message
    ) -> ReceiverAnswer:
        if self._client is None:
            self._client = await asyncio.to_thread(self._make_client)
        target = Receiver(
            url=message.url or endpoint.url,
            timeout_s=settings.timeout,
            allow_private=settings.allow_private,
            ca_file=endpoint.ca_file,
            owner=_owner_of(message.endpoint),
        )
        secrets = [one for one in (endpoint.secret, endpoint.previous_secret) if one is not None]
        headers = headers_of(
            message.id, message.body, [*map(secret_bytes, secrets)], self._clock.time()
        )
        return await self._client.post(target, headers, message.body)

    async def _learn(self, name: str, attempted: Sequence[Attempted]) -> bool:
        """Whether the endpoint is to be sent more at once."""
        failed = [one.delivery for one in attempted if one.again_s is not None]
        if len(failed) < len(attempted):
            self._failures.pop(name, None)
            self._resting.pop(name, None)
            return True
        failures = self._failures[name] = self._failures.get(name, 0) + 1
        self._resting[name] = self._clock.monotonic() + rest_s(failures, self._draw.random())
        if failures == 1:
            log.warning("webhook %s: %s; it is tried again", name, failed[0].error)
        if any(one.status == _GONE for one in failed) and await self._outbox.disable(name):
            log.error("webhook %s says that it is gone (410): it is disabled", name)
        return False

    async def _stored(self, work: Awaitable[T]) -> T | None:
        """What the store says; None, and one line of the log, while it says nothing."""
        try:
            found = await work
        except StorageUnavailable as unavailable:
            if not self._failing:
                log.error("%s; webhooks wait for it", unavailable)
            self._failing = str(unavailable)
            return None
        self._failing = ""
        return found


def _label(endpoint: str) -> str:
    """Of its metrics: those whom jobs name are many."""
    return "jobs" if endpoint.startswith(JOB_RECEIVERS) else endpoint


def _owner_of(endpoint: str) -> str:
    """Who has named a receiver: a key, where a job names it, else whoever wrote the policy."""
    return ":".join(endpoint.split(":", 2)[:2]) if endpoint.startswith(JOB_RECEIVERS) else endpoint


def _usage_of(endpoint: str, batched: bool, rows: Sequence[LedgerRow]) -> Message:
    return usage_message(endpoint, rows, batched=batched)
