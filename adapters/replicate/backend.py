"""Replicate's cloud: an official model, a deployment or a version, over its HTTP API.

The platform takes no idempotency key, so nothing is created twice: whatever happens after a
create has left, the prediction is found again by its id, or the call is AMBIGUOUS. A whole
answer is one create held by ``Prefer: wait``, and after that polls; a stream is a create, then
the prediction's event stream. The caller's deadline travels as ``Cancel-After``, so that the
platform ends what nobody waits for.

Assumed, for nothing here was run against the live platform: ``Cancel-After`` takes whole seconds
from 5 on; the code of a create is 200, 201 or 202; a 422 names a field as ``input.<field>``;
language models count tokens in ``metrics.input_token_count`` and ``output_token_count``; an
unknown status means that the prediction goes on.

Sources: https://replicate.com/docs/reference/http,
https://replicate.com/docs/topics/predictions/streaming, as of 2025-10.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import AsyncIterator
from datetime import datetime

from adapters.assumptions import ACCEPTED, tried
from adapters.base import PROBE_S, Clock
from adapters.errors import BackendError, FailureClass, takes_no
from adapters.http.chunks import once
from adapters.http.outputs import event_of, input_of
from adapters.http.predictions import Prediction, reply_of
from adapters.http.response import Body
from adapters.http.token_counts import count_of
from adapters.polling import note, poll_until, unanswered
from adapters.remote_jobs import RemoteJobs
from adapters.replicate.api import ReplicateApi, ReplicateSettings
from adapters.replicate.bill import ListedPrediction, bill_of, listed
from adapters.replicate.stream import PredictionOnlooker, PredictionSource, PredictionStream
from adapters.types import (
    ALL_TASKS,
    INFER_ONLY,
    Assumption,
    Bill,
    Call,
    Capabilities,
    Chunk,
    Handle,
    JobState,
    Probe,
    Progress,
    Reply,
    Usage,
)

_STARTING = "starting"
"""It waits for an instance: in line, or for one that starts."""


class Replicate:
    """A model, a deployment or a version of Replicate's cloud."""

    Settings = ReplicateSettings

    def __init__(self, name: str, settings: ReplicateSettings, clock: Clock) -> None:
        self.name = name
        self._settings = settings
        self._clock = clock
        self._api = ReplicateApi(settings, clock)
        self._payloads = settings.new_payloads(clock)
        self._jobs = RemoteJobs(self._stop, clock, named=self._api.created)
        self._last_end = float("-inf")
        self._capabilities = Capabilities(tasks=ALL_TASKS if settings.openai else INFER_ONLY)

    def __repr__(self) -> str:
        return f"<Replicate {self.name}: {len(self._jobs)} predictions, {self._api!r}>"

    @property
    def capabilities(self) -> Capabilities:
        return self._capabilities

    @property
    def slots(self) -> int | None:
        return self._settings.max_workers

    async def start(self) -> None:
        self._api.start()
        if self._payloads is not None:
            self._payloads.start()

    async def aclose(self) -> None:
        await self._jobs.aclose()
        await self._api.aclose()
        if self._payloads is not None:
            await self._payloads.aclose()

    async def invoke(self, call: Call) -> Reply:
        self._check(call)
        deadline = min(call.deadline, self._clock.monotonic() + self._settings.timeout)
        submit = await self._api.create(
            await self._input(call, deadline), deadline, hold=not call.stream
        )
        prediction = await self._jobs.submitted(call.id, submit)
        if not prediction.final:
            self._jobs.remember(call.id, Prediction(id=prediction.id, status=_STARTING))
            if call.stream and (url := (prediction.urls or {}).get("stream")):
                return await self._stream(call, prediction, url, deadline)
            self._note(prediction, call.progress)
            prediction = await self.final(prediction.id, deadline, call.progress)
        return self._answer(call, prediction, deadline)

    async def cancel(self, call_id: str) -> Usage | None:
        """Stops a call's prediction. Waits for its id where the create is still held."""
        return await self._jobs.cancel(call_id)

    async def keep_workers(self, minimum: int) -> None:
        """Sets a deployment's ``min_instances``."""
        await self._api.keep_instances(minimum)

    async def probe(self) -> Probe:
        """The platform does not say what is warm: an official model always is, a deployment while
        it keeps instances, and anything else for a while after its last call."""
        try:
            kept = await self._api.min_instances()
        except BackendError as error:
            return error.as_probe()
        ready = bool(kept) or self._settings.model is not None or self._was_used()
        return Probe(ready=ready, warm_workers=kept)

    async def bill(self, start: float, end: float) -> Bill:
        """The seconds that its predictions ran, by the hour in which they were created."""
        predictions = await listed(self._api.list_page, start, end)
        return bill_of(predictions, start, end, ours=self._is_ours)

    async def assumptions(self) -> list[Assumption]:
        return [await tried(f"{ACCEPTED}, and what it runs is known", self._known)]

    # --- jobs that outlive their caller ----------------------------------------------------

    async def submit(self, call: Call) -> Handle:
        """One create that is not held. The platform keeps its output for an hour."""
        self._check(call)
        now = self._clock.monotonic()
        remaining = call.deadline - now
        allowed = remaining if math.isfinite(remaining) else self._settings.timeout
        submit = await self._api.create(
            await self._input(call, now + allowed), now + allowed, hold=False
        )
        prediction = await self._jobs.submitted(call.id, submit)
        return Handle(job=prediction.id, call=call.id, task=call.task, submitted=self._clock.time())

    async def poll(self, handle: Handle) -> JobState:
        prediction = await self._asked(handle)
        if not prediction.final:
            return JobState(
                status="queued" if prediction.status == _STARTING else "running",
                logs=prediction.logs or "",
                pieces=prediction.pieces,
            )
        usage = self.conclude(handle.call, prediction)
        reply = reply_of(prediction, handle.task, usage, self._api.secrets)
        return JobState(status="done", reply=reply, logs=prediction.logs or "")

    async def stop(self, handle: Handle) -> Usage | None:
        stopped = await self._api.cancel(handle.job)
        return None if stopped is None else await self._used(stopped)

    async def follow(self, handle: Handle, deadline: float) -> AsyncIterator[Chunk]:
        """Raises UNSUPPORTED for a model that puts out no events."""
        prediction = await self._asked(handle)
        url = (prediction.urls or {}).get("stream")
        if url is None:
            raise BackendError(FailureClass.UNSUPPORTED, "The model puts out no events.")
        call = Call(id=handle.call, model="", task=handle.task, body=b"", stream=True)
        chunks = self._chunks(PredictionOnlooker(self), call, prediction, url, deadline)
        await chunks.first()
        return chunks

    # --- for a stream ----------------------------------------------------------------------

    async def open_stream(self, url: str, last_id: str | None, deadline: float) -> Body:
        """The events of a prediction, from after ``last_id`` on. Raises BackendError."""
        return await self._api.open_stream(url, last_id, deadline)

    async def look(self, prediction_id: str, progress: Progress) -> None:
        """Notes how a prediction stands; nothing where that is not to be learned now."""
        with contextlib.suppress(BackendError):
            soon = self._clock.monotonic() + PROBE_S
            self._note(await self._api.get(prediction_id, soon), progress)

    async def final(self, prediction_id: str, deadline: float, progress: Progress) -> Prediction:
        """A prediction once it has ended; meanwhile the call's progress. Raises TIMEOUT, or
        AMBIGUOUS when it cannot be asked."""
        return await poll_until(
            lambda: self._ended(prediction_id, deadline, progress),
            self._clock,
            deadline=deadline,
            every=self._settings.poll_every,
        )

    def conclude(self, call_id: str, prediction: Prediction) -> Usage:
        """A prediction has ended: what it used."""
        self._jobs.forget(call_id)
        usage = usage_of(prediction, warm=self._was_used())
        if not prediction.never_began:
            self._last_end = self._clock.monotonic()
        return usage

    async def abandon(self, call_id: str) -> Usage | None:
        """Stops a prediction whose output was lost: nobody can use the rest."""
        return await self._jobs.cancel(call_id)

    # --- inside ----------------------------------------------------------------------------

    def _answer(self, call: Call, prediction: Prediction, deadline: float) -> Reply:
        usage = self.conclude(call.id, prediction)
        late = self._clock.monotonic() >= deadline
        reply = reply_of(prediction, call.task, usage, self._api.secrets, late=late)
        if not call.stream:
            return reply
        if call.task != "infer":
            raise BackendError(
                FailureClass.FAILED, "The model answered a stream with no stream.", usage=usage
            )
        chunks = once(Chunk(event_of(reply.body), "data", usage))
        return Reply(content_type="text/event-stream", chunks=chunks)

    def _is_ours(self, prediction: ListedPrediction) -> bool:
        settings = self._settings
        if settings.deployment is not None:
            return prediction.deployment == settings.deployment
        if settings.model is not None:
            return prediction.model == settings.model and not prediction.deployment
        version = (settings.version or "").rpartition(":")[2]
        return prediction.version == version and not prediction.deployment

    async def _known(self) -> tuple[bool, str]:
        kept = await self._api.min_instances()
        return True, "found" if kept is None else f"min_instances is {kept}"

    async def _input(self, call: Call, deadline: float) -> bytes:
        """The model's input; files of a large one by URL, where there is a place for them."""
        body = input_of(call.body)
        if self._payloads is None:
            return body
        return await self._payloads.slim(body, self._settings.inline, deadline)

    def _check(self, call: Call) -> None:
        if call.task not in self._capabilities.tasks:
            raise takes_no(f"{call.task} calls")

    async def _stream(self, call: Call, prediction: Prediction, url: str, deadline: float) -> Reply:
        chunks = self._chunks(self, call, prediction, url, deadline)
        await chunks.first()
        return Reply(content_type="text/event-stream", chunks=chunks)

    def _chunks(
        self,
        source: PredictionSource,
        call: Call,
        prediction: Prediction,
        url: str,
        deadline: float,
    ) -> PredictionStream:
        return PredictionStream(
            source,
            self._clock,
            prediction=prediction,
            url=url,
            call=call,
            deadline=deadline,
            every=self._settings.poll_every,
            secrets=self._api.secrets,
            max_event=self._settings.max_event,
        )

    async def _asked(self, handle: Handle) -> Prediction:
        try:
            return await self._api.get(handle.job, math.inf)
        except BackendError as error:
            raise unanswered(error) from None

    async def _ended(
        self, prediction_id: str, deadline: float, progress: Progress
    ) -> Prediction | None:
        prediction = await self._api.get(prediction_id, deadline)
        self._note(prediction, progress)
        return prediction if prediction.final else None

    def _note(self, prediction: Prediction, progress: Progress) -> None:
        if not prediction.final:
            note(progress, self._clock.monotonic(), queued=prediction.status == _STARTING)

    async def _stop(self, prediction: Prediction) -> Usage | None:
        """Cancels at the platform; what it used, where the platform says so."""
        if prediction.final:
            return usage_of(prediction, warm=self._was_used())
        stopped = await self._api.cancel(prediction.id)
        return None if stopped is None else await self._used(stopped)

    async def _used(self, stopped: Prediction) -> Usage | None:
        """The answer to a cancel may come before the run's time is written down."""
        if stopped.predict_time is None:
            soon = self._clock.monotonic() + PROBE_S
            stopped = await self._api.get(stopped.id, soon)
        if stopped.predict_time is None:
            return None
        return usage_of(stopped, warm=self._was_used())

    def _was_used(self) -> bool:
        return self._clock.monotonic() - self._last_end <= self._settings.warm_for


def usage_of(prediction: Prediction, *, warm: bool) -> Usage:
    """What a prediction that ended used. The platform reports queue and start as one figure,
    ``started_at - created_at``, which is a wait where an instance was surely up."""
    ran = prediction.predict_time
    delay = _between(prediction.created_at, prediction.started_at)
    counts = prediction.metrics or {}
    return Usage(
        input_tokens=count_of(counts.get("input_token_count")),
        output_tokens=count_of(counts.get("output_token_count")),
        queue_s=delay if warm or delay is None else 0.0,
        cold_s=None if delay is None else (0.0 if warm else delay),
        exec_s=ran,
        gpu_s=ran,
        reported=ran is not None,
    )


def _between(earlier: str | None, later: str | None) -> float | None:
    """Seconds between two instants of RFC 3339."""
    if earlier is None or later is None:
        return None
    try:
        passed = datetime.fromisoformat(later) - datetime.fromisoformat(earlier)
    except (ValueError, TypeError):
        return None
    return max(0.0, passed.total_seconds())
