"""Sends the results of background calls to the URL that the caller named."""

from __future__ import annotations

import contextlib
import http.client
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

ATTEMPTS = 4
FIRST_PAUSE_S = 1.0
"""Before the second attempt; doubled from then on."""
TIMEOUT_S = 10.0
SENDERS = 8
"""Results that are on their way at once: a receiver that hangs holds up no other."""
MAX_WAITING = 1024
"""Results that wait to be sent; one more is dropped with a line in the log."""

Post = Callable[[str, bytes], int]
"""(URL, JSON) -> HTTP status. Raises OSError or HTTPException when nothing came back."""


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


def post(url: str, body: bytes) -> int:
    """One POST, no redirects."""
    parts = urllib.parse.urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=TIMEOUT_S)
    path = urllib.parse.urlunsplit(("", "", parts.path or "/", parts.query, ""))
    try:
        connection.request("POST", path, body, {"Content-Type": "application/json"})
        return connection.getresponse().status
    finally:
        connection.close()


class Webhooks:
    """A queue of results and the threads that send them, each a bounded number of times.

    A 2xx ends it; 408, 429, 5xx and silence are tried again; anything else is final.
    """

    def __init__(self, *, send: Post = post, pause: Callable[[float], None] = time.sleep) -> None:
        self._send = send
        self._pause = pause
        self._waiting: queue.Queue[tuple[str, bytes]] = queue.Queue(MAX_WAITING)
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
            self._waiting.put_nowait((url, payload_of(job_id, event)))
        except queue.Full:
            _log(f"the result of job {job_id} was dropped: too many webhooks wait")
        if self._senders < min(SENDERS, self._waiting.unfinished_tasks):
            self._senders += 1
            threading.Thread(target=self._work, name="webhooks", daemon=True).start()

    def _work(self) -> None:
        while True:
            url, body = self._waiting.get()
            try:
                self.deliver(url, body)
            finally:
                self._waiting.task_done()

    def deliver(self, url: str, body: bytes) -> bool:
        """True when the receiver took it."""
        problem = ""
        for attempt in range(ATTEMPTS):
            if attempt:
                self._pause(FIRST_PAUSE_S * 2 ** (attempt - 1))
            try:
                status = self._send(url, body)
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
