"""A dedicated model on Baseten: ``predict``, or ``async_predict`` where there is a webhook.

The platform holds a ``predict`` while a replica wakes, for 20 minutes at most. It keeps no output
of an asynchronous call: that goes to the webhook or is lost, so without one no call is
asynchronous, and with one the caller gets a receipt. It takes no idempotency key: a submit whose
answer was lost is AMBIGUOUS.

Assumed, for nothing here was run against the live platform: a model that streams answers in
chunks of text or of server-sent events; ``wake`` of a deployment that is up does nothing and
delays no scale-down.

Source: https://docs.baseten.co/reference/inference-api, as of 2026-10.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import msgspec

from adapters.assumptions import ACCEPTED, tried
from adapters.base import Clock
from adapters.baseten.api import (
    ASYNC_LIMIT,
    AsyncRequest,
    BasetenSettings,
    async_request,
    probe_of,
    state_of,
    submission,
)
from adapters.baseten.bill import bill_of, deployments_of, query_for
from adapters.cold_starts import ColdStarts
from adapters.errors import BackendError, FailureClass, takes_no
from adapters.http.answers import output_in
from adapters.http.api import Api, merged
from adapters.http.backend import HttpBackend
from adapters.http.endpoint_words import about_the_endpoint, no_job
from adapters.http.openai_calls import OpenAICalls
from adapters.http.outputs import input_of
from adapters.http.passthrough import stream_of
from adapters.http.response import Response
from adapters.polling import note, poll_until, timed, unanswered
from adapters.remote_jobs import RemoteJobs
from adapters.shapes.json_texts import read_if
from adapters.types import (
    ALL_TASKS,
    INFER_ONLY,
    Assumption,
    Bill,
    Call,
    Capabilities,
    Handle,
    JobState,
    Probe,
    Reply,
    Usage,
)

_ENVELOPE = 1024
_BILL_S = 30.0
_SUBMIT_S = 10.0
_WAKE_EVERY_S = 1.0


class Baseten(HttpBackend):
    """A deployment of one model."""

    Settings = BasetenSettings

    def __init__(self, name: str, settings: BasetenSettings, clock: Clock) -> None:
        asynchronous = settings.webhook is not None
        tasks = ALL_TASKS if settings.openai and not asynchronous else INFER_ONLY
        capabilities = Capabilities(
            tasks=tasks,
            streaming=not asynchronous,
            max_request_bytes=ASYNC_LIMIT - _ENVELOPE if asynchronous else None,
        )
        super().__init__(name, _api(settings.url(), settings, clock), capabilities)
        self._settings = settings
        self._management = _api(settings.management_url, settings, clock)
        self._calls = OpenAICalls(self._api, settings)
        self._heads = self._api.heads(dict.fromkeys(tasks, settings.prefix() + "/predict"))
        self._starts = ColdStarts(clock, settings.warm_for)
        self._jobs = RemoteJobs(self._stop, clock, named=self._named)

    async def start(self) -> None:
        await super().start()
        self._management.start()

    async def aclose(self) -> None:
        await self._jobs.aclose()
        await super().aclose()
        await self._management.aclose()

    async def invoke(self, call: Call) -> Reply:
        head = self._heads.get(call.task)
        if head is None or (call.stream and not self.capabilities.streaming):
            what = f"{call.task} calls" if head is None else "streams"
            raise takes_no(what)
        began = self._clock.monotonic()
        deadline = min(call.deadline, began + self._settings.timeout)
        if self._settings.webhook is not None:
            return await self._see_through(call, deadline, began)
        cold = self._starts.expected()
        if call.task != "infer":
            reply = await self._calls.ask(call, head)
        elif call.stream:
            reply = await self._stream(call, head, deadline, began)
        else:
            reply = await self._whole(call, head, deadline, began)
        return self._starts.with_start(reply, began, cold=cold)

    async def cancel(self, call_id: str) -> Usage | None:
        """Of calls with a webhook, those that still wait; the platform stops none that runs. Any
        other call ends with its connection, as far as its model notices."""
        return await self._jobs.cancel(call_id)

    async def ping(self) -> Usage:
        """``wake``, and until the replica is up: it runs nothing, and keeps none awake."""
        began = self._clock.monotonic()
        await self._api.ask("POST", self._settings.prefix() + "/wake", b"")
        until = began + self._settings.wake_wait
        while not (await self.probe()).ready:
            if self._clock.monotonic() >= until:
                raise BackendError(FailureClass.LOADING, "The replica did not come up in time.")
            await self._clock.sleep(_WAKE_EVERY_S)
        return Usage(exec_s=0.0, cold_s=self._clock.monotonic() - began)

    async def keep_workers(self, minimum: int) -> None:
        """Sets ``min_replica``; the platform may take its time over it."""
        path, environment = self._settings.managed()
        wanted: dict[str, object] = {"min_replica": minimum}
        if environment:
            wanted = {"autoscaling_settings": wanted}
        else:
            path += "/autoscaling_settings"
        await self._management.ask("PATCH", path, msgspec.json.encode(wanted))

    async def bill(self, start: float, end: float) -> Bill:
        """What the model's deployments cost, by the day: starts and idle minutes included."""
        query = query_for(start, end)
        path = f"/models/{self._settings.model}/deployments"
        listed = await self._management.ask("GET", path, within=_BILL_S)
        summary = await self._management.ask("GET", query, within=_BILL_S)
        return bill_of(summary.body, self._settings, deployments_of(listed.body), start, end)

    async def probe(self) -> Probe:
        """The management API's word; the model's own host is left alone, for a call there wakes
        it."""
        try:
            probe = await self._managed()
        except BackendError as error:
            return error.as_probe()
        self._starts.observe(warm=probe.ready)
        return probe

    async def assumptions(self) -> list[Assumption]:
        return [await tried(f"{ACCEPTED}, and the deployment's state is told", self._state)]

    # --- answers -----------------------------------------------------------------------------

    async def _whole(self, call: Call, head: bytes, deadline: float, began: float) -> Reply:
        answer = await self._api.client.request(head, call.body, deadline=deadline)
        response = self._api.checked(answer)
        usage = Usage(exec_s=self._clock.monotonic() - began)
        return output_in(response, usage)

    async def _stream(self, call: Call, head: bytes, deadline: float, began: float) -> Reply:
        answer = await self._calls.open(head, call.body, deadline)
        usage = Usage(exec_s=self._clock.monotonic() - began)
        return await stream_of(
            self._api,
            answer,
            "infer",
            usage,
            limit=self._settings.max_response,
            max_event=self._settings.max_event,
        )

    # --- calls with a webhook ----------------------------------------------------------------

    async def submit(self, call: Call) -> Handle:
        """One ``async_predict``. What a poll gives in the end is the receipt: the output is the
        webhook's, and is kept nowhere else."""
        if self._settings.webhook is None or call.task != "infer":
            raise BackendError(
                FailureClass.UNSUPPORTED, "Only calls with a webhook are jobs of the platform."
            )
        began = self._clock.monotonic()
        request_id = await self._submitted(call, call.deadline, began)
        return Handle(job=request_id, call=call.id, task=call.task, submitted=self._clock.time())

    async def poll(self, handle: Handle) -> JobState:
        try:
            response = await self._api.ask("GET", _path_of(handle.job), also=(404,))
            found = None if response.status == 404 else async_request(response.body)
        except BackendError as error:
            raise unanswered(error) from None
        if found is None:
            raise BackendError(FailureClass.TIMEOUT, "The platform no longer knows the job.")
        usage = Usage(exec_s=max(0.0, self._clock.time() - handle.submitted))
        return state_of(found, usage, self._api.secrets)

    async def stop(self, handle: Handle) -> Usage | None:
        """One that still waits; the platform stops none that runs."""
        response = await self._api.send("DELETE", _path_of(handle.job))
        if response.status not in (200, 404):
            raise unanswered(self._api.refusal(response))
        return None

    async def _submitted(self, call: Call, deadline: float, began: float) -> str:
        """The platform's name for the call."""
        body = submission(self._settings, input_of(call.body), deadline - began)
        head = self._api.head("POST", self._settings.prefix() + "/async_predict")
        give_up = min(deadline, began + _SUBMIT_S)
        submit = await self._api.client.submit(head, body, deadline=give_up)
        return await self._jobs.submitted(call.id, submit)

    async def _see_through(self, call: Call, deadline: float, began: float) -> Reply:
        """Until the call has run; its output is the webhook's."""
        request_id = await self._submitted(call, deadline, began)
        self._jobs.remember(call.id, request_id)
        ended = await poll_until(
            lambda: self._ended(call, request_id),
            self._clock,
            deadline=deadline,
            every=self._settings.poll_every,
        )
        self._jobs.forget(call.id)
        usage = timed(call.progress, began, self._clock.monotonic())
        return Reply(body=ended.receipt(usage, self._api.secrets), usage=usage)

    async def _ended(self, call: Call, request_id: str) -> AsyncRequest | None:
        found = async_request((await self._api.ask("GET", _path_of(request_id))).body)
        if not found.ended:
            note(call.progress, self._clock.monotonic(), queued=found.status == "QUEUED")
        return found if found.ended else None

    def _named(self, response: Response) -> str:
        body = self._api.checked(response).body
        request_id = async_request(body).request_id
        if not request_id and (refused := no_job(read_if(body, dict[str, Any]), self._api.secrets)):
            raise refused
        if not request_id.replace("-", "").isalnum():
            raise BackendError(
                FailureClass.AMBIGUOUS, "The platform took the call and did not name it."
            )
        return request_id

    async def _stop(self, request_id: str) -> Usage | None:
        await self._api.ask("DELETE", _path_of(request_id), also=(404,))
        return None

    # --- inside ----------------------------------------------------------------------------

    async def _managed(self) -> Probe:
        path, _ = self._settings.managed()
        return probe_of((await self._management.ask("GET", path)).body)

    async def _state(self) -> tuple[bool, str]:
        probe = await self._managed()
        known = probe.ready or "unknown" not in probe.detail
        return known, probe.detail or f"it is active, with {probe.warm_workers} replicas"


class _BasetenApi(Api):
    def refusal(self, response: Response) -> BackendError:
        """A deployment that is not active is nothing that a call has done."""
        return about_the_endpoint(super().refusal(response))


def _api(url: str, settings: BasetenSettings, clock: Clock) -> Api:
    key = {"Authorization": f"Api-Key {settings.api_key.reveal()}"}
    headers = merged(settings.headers, key)
    return _BasetenApi(url, clock, settings, headers=headers, secrets=(settings.api_key,))


def _path_of(request_id: str) -> str:
    return f"/async_request/{quote(request_id, safe='')}"
