"""Sends the results of background calls to the URL that the caller named."""

from __future__ import annotations

import contextlib
import http.client
import os
import queue
import sys
import threading
import time
import urllib.parse
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec

from local_runtime.json_bodies import decoded, json_or_text
from local_runtime.protocol.events import Done, Piece, Respond, Run
from local_runtime.public_addresses import Forbidden
from local_runtime.webhook_post import WebhookRules, headers_of, post, rules_of

ATTEMPTS = 4
FIRST_PAUSE_S = 1.0
"""Before the second attempt; doubled from then on."""
SENDERS = 8
"""Results that are on their way at once: a receiver that hangs holds up no other."""
MAX_WAITING = 1024
"""Results that wait to be sent; one more is dropped with a line in the log."""

Post = Callable[[str, bytes, dict[str, str]], int]
"""(URL, JSON, headers) -> HTTP status. Raises OSError or HTTPException when nothing came back."""


class _Target(msgspec.Struct):
    webhook: str | None = None


def url_of(body: bytes) -> str | None:
    """The ``webhook`` of a request, when it is an http or https URL with a host."""
    try:
        url = decoded(body, _Target).webhook
        parts = urllib.parse.urlsplit(url or "")
    except ValueError:
        return None
    return url if parts.scheme in ("http", "https") and parts.hostname else None


def payload_of(job_id: str, done: Done) -> bytes:
    """What is sent: ``{"job_id", "status": "completed", "output"}`` or ``{..., "error"}``."""
    body: dict[str, Any] = {"job_id": job_id, "status": "completed" if done.ok else "failed"}
    if done.ok:
        # Of a Response the bytes may be anything; they are a handler's own words, else ours.
        body["output"] = (
            json_or_text(done.data) if done.status else msgspec.Raw(done.data or b"null")
        )
    else:
        body["error"] = done.message
    return msgspec.json.encode(body)


class Webhooks:
    """A queue of results and the threads that send them, each a bounded number of times.

    A 2xx ends it; 408, 429, 5xx and silence are tried again; anything else is final.
    """

    def __init__(
        self,
        *,
        rules: WebhookRules | None = None,
        send: Post | None = None,
        pause: Callable[[float], None] = time.sleep,
        now: Callable[[], float] = time.time,
    ) -> None:
        """``rules``: left out, those of the environment. Raises ValueError for a secret there that
        is none."""
        self._rules = rules_of(os.environ) if rules is None else rules
        self._send = send or partial(post, rules=self._rules)
        self._pause = pause
        self._now = now
        self._waiting: queue.Queue[tuple[str, str, bytes]] = queue.Queue(MAX_WAITING)
        self._senders = 0

    @property
    def idle(self) -> bool:
        """No result waits or is on its way."""
        return self._waiting.unfinished_tasks == 0

    def answer(self, run: Run) -> Respond:
        """Takes the result of a background call, and sends it if the caller named a URL."""
        return partial(self._take, run.request, url_of(run.body))

    def _take(self, job_id: str, url: str | None, event: Piece | Done) -> None:
        if url is None or not isinstance(event, Done):
            return
        try:
            self._waiting.put_nowait((url, job_id, payload_of(job_id, event)))
        except queue.Full:
            _log(f"the result of job {job_id} was dropped: too many webhooks wait")
        if self._senders < min(SENDERS, self._waiting.unfinished_tasks):
            self._senders += 1
            threading.Thread(target=self._work, name="webhooks", daemon=True).start()

    def _work(self) -> None:
        while True:
            url, job_id, body = self._waiting.get()
            try:
                self.deliver(url, job_id, body)
            finally:
                self._waiting.task_done()

    def deliver(self, url: str, id: str, body: bytes) -> bool:
        """True when the receiver took it. ``id`` is the message's, by which a receiver knows it
        again."""
        problem = ""
        for attempt in range(ATTEMPTS):
            if attempt:
                self._pause(FIRST_PAUSE_S * 2 ** (attempt - 1))
            headers = headers_of(id, body, self._rules.secrets, self._now())
            try:
                status = self._send(url, body, headers)
            except Forbidden as error:
                problem = str(error)
                break
            except (OSError, http.client.HTTPException) as error:
                problem = type(error).__name__
                continue
            except Exception as error:  # of what the URL says: it will say the same again
                problem = type(error).__name__
                break
            if 200 <= status < 300:
                return True
            problem = f"status {status}"
            if status not in (408, 429) and status < 500:
                break
        _log(f"a webhook to {urllib.parse.urlsplit(url).hostname} failed: {problem}")
        return False


def _log(line: str) -> None:
    with contextlib.suppress(Exception):  # the app may have closed it
        print(line, file=sys.stderr, flush=True)
