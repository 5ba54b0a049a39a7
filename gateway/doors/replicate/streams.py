"""A prediction's output as server-sent events: ``output`` for each piece, ``error``, and ``done``.
A follower that was cut off resumes after the last event's id.

Source: https://replicate.com/docs/topics/predictions/streaming
"""

from __future__ import annotations

from typing import Any

import msgspec

from adapters.shapes.json_texts import value_in
from gateway.api.answers.relay import begin_stream
from gateway.api.jobs.job_requests import last_event_id
from gateway.doors.replicate.views import PROMPT, output, status_of
from gateway.doors.requests.pages import DoorRequest
from gateway.doors.requests.waiting import until_ended
from gateway.jobs.records import read_fault, read_request
from gateway.storage.jobs.base import StoredJob
from gateway.storage.jobs.states import ENDED

_COMMENT_EVERY_S = 15.0
_WAITING = b": waiting\n\n"


async def follow(asked: DoorRequest, job: StoredJob) -> None:
    """Waits for the end, and says so now and then. Raises ClientGone."""
    after, send = last_event_id(asked.context), asked.send
    await begin_stream(asked.context, send, [])
    while job.state not in ENDED:
        await send({"type": "http.response.body", "body": _WAITING, "more_body": True})
        job = await until_ended(asked.jobs, job, _COMMENT_EVERY_S, asked.receive)
    frames = events_of(await asked.jobs.whole(job))[after:]
    await send({"type": "http.response.body", "body": b"".join(frames)})


def events_of(job: StoredJob) -> list[bytes]:
    """All events of a prediction that has ended; the first has the id 1."""
    told = [("output", piece) for piece in pieces_of(job)]
    status, fault = status_of(job), read_fault(job.error)
    if status == "failed":
        detail = "The prediction failed." if fault is None else fault.message
        told.append(("error", _text({"detail": detail})))
    told.append(("done", _text({"reason": status} if status != "succeeded" else {})))
    return [_frame(number, kind, text) for number, (kind, text) in enumerate(told, 1)]


def pieces_of(job: StoredJob) -> list[str]:
    """The texts of a list; any other output as one piece."""
    dialect = read_request(job.request).dialect
    prompt = dialect is not None and PROMPT in dialect.particulars
    found = output(job, prompt=prompt)
    if found is None:
        return []
    value = value_in(found) if isinstance(found, msgspec.Raw) else found
    return [_text(one) for one in value] if isinstance(value, list) else [_text(value)]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _frame(number: int, kind: str, text: str) -> bytes:
    lines = "".join(f"data: {line}\n" for line in text.replace("\r\n", "\n").split("\n"))
    return f"id: {number}\nevent: {kind}\n{lines}\n".encode()
