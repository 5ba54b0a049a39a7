"""Senders over real outboxes, with a client that a test plays."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from adapters.settings import Secret
from gateway.clock import Clock
from gateway.events.attempts import NotReceived, Receiver, ReceiverAnswer
from gateway.events.sender import WebhookSender
from gateway.metrics import Metrics
from gateway.policy.sections.webhooks import WebhookEndpoint, WebhookSettings
from gateway.storage.outbox import Outbox
from tests.gateway.events.receivers import SECRET

USAGE = WebhookEndpoint(
    url="https://billing.example.com/hooks", secret=Secret(SECRET), events=("usage",), batch=1
)


class Sent(NamedTuple):
    """A message as a receiver gets it."""

    id: str
    body: str
    url: str


class PlayedClient:
    """Takes every message, or answers as it is told, by turns; None: nothing comes back."""

    def __init__(self, statuses: Iterable[int | None] = ()) -> None:
        self.sent: list[Sent] = []
        self._statuses = list(statuses)

    async def post(self, target: Receiver, headers: dict[str, str], body: str) -> ReceiverAnswer:
        self.sent.append(Sent(headers["webhook-id"], body, target.url))
        status = self._statuses.pop(0) if self._statuses else 200
        if status is None:
            raise NotReceived("no answer within 15 s")
        return ReceiverAnswer(status)

    async def aclose(self) -> None:
        return None

    @property
    def ids(self) -> list[str]:
        return [one.id for one in self.sent]


def settings(**options: Any) -> Callable[[], WebhookSettings]:
    made = WebhookSettings(**{"endpoints": {"billing": USAGE}} | options)
    return lambda: made


BILLING = settings()


def sender_of(
    outbox: Outbox,
    client: Any,
    clock: Clock,
    *,
    settings: Callable[[], WebhookSettings] = BILLING,
    metrics: Metrics | None = None,
) -> WebhookSender:
    return WebhookSender(
        outbox=outbox,
        settings=settings,
        client=lambda: client,
        clock=clock,
        metrics=metrics or Metrics(),
        draw=random.Random(0),
    )


async def sent_all(sender: WebhookSender) -> None:
    """One look, and all that it begins."""
    await sender.look()
    await sender.idle()
