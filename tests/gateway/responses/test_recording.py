"""A stream is told event by event and kept, whatever ends its lines and wherever it is cut."""

from __future__ import annotations

import json
from collections.abc import MutableMapping
from typing import Any

import pytest

from adapters.whole_events import data_of, split_events
from gateway.api.responses.recording import RecordedResponse

DONE = '{"type": "response.completed", "response": {"id": "resp_1", "output": ["é"]}}'
LINES = (
    ("event: response.created", 'data: {"type": "response.created",', 'data: "response": {}}'),
    (": a comment",),
    ("event: response.output_text.delta", 'data: {"delta": "hi"}'),
    ("id: 7", "event: response.completed", f"data: {DONE}", "retry: 5"),
)
ENDS = {"lf": "\n", "crlf": "\r\n", "cr": "\r"}


def written(end: str) -> list[bytes]:
    """The events, each with its boundary."""
    return [(end.join(lines) + 2 * end).encode() for lines in LINES]


class Recorded:
    """A stream on its way, what of it was told, and what was kept."""

    def __init__(self) -> None:
        self.told = b""
        self.kept: list[dict[str, Any]] = []
        self.ended_with: list[Any] = []
        self._response = RecordedResponse(self._send, self._keep, "resp_0")

    async def begin(self) -> None:
        headers = [(b"content-type", b"text/event-stream; charset=utf-8")]
        await self._response({"type": "http.response.start", "status": 200, "headers": headers})

    async def feed(self, data: bytes, more: bool | None = True) -> None:
        message = {"type": "http.response.body", "body": data, "more_body": more}
        await self._response(message)

    async def _send(self, message: MutableMapping[str, Any]) -> None:
        self.told += message.get("body", b"")
        self.ended_with += [message["more_body"]] if not message.get("more_body", True) else []

    async def _keep(self, answer: dict[str, Any]) -> bool:
        self.kept.append(dict(answer))
        return True


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
async def test_an_event_is_told_as_soon_as_it_is_whole(end: str) -> None:
    recorded = Recorded()
    await recorded.begin()
    for number, event in enumerate(written(end), 1):
        for at in range(len(event)):
            await recorded.feed(event[at : at + 1])
        assert len(split_events(recorded.told)) == number
    [kept] = recorded.kept
    assert (kept["id"], kept["output"]) == ("resp_1", ["é"])
    created, comment, delta, done = split_events(recorded.told)
    assert (comment, delta) == tuple(written(end)[1:3])
    for event in (created, done):
        answer = json.loads(data_of(event))["response"]
        assert (answer["previous_response_id"], answer["store"]) == ("resp_0", True)
    assert done.startswith(b"id: 7\nevent: response.completed\nretry: 5\ndata: ")


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
async def test_a_stream_is_the_same_in_whatever_two_pieces(end: str) -> None:
    stream, seen = b"".join(written(end)), set()
    for at in range(len(stream) + 1):
        recorded = Recorded()
        await recorded.begin()
        await recorded.feed(stream[:at])
        await recorded.feed(stream[at:], more=False)
        assert (len(recorded.kept), recorded.ended_with) == (1, [False]), at
        seen.add(recorded.told)
    assert len(seen) == 1


@pytest.mark.parametrize("more", [False, None], ids=["ended", "cut"])
async def test_what_is_no_whole_event_is_told_as_it_is(more: bool | None) -> None:
    recorded = Recorded()
    await recorded.begin()
    await recorded.feed(b"data: hi\n\ndata: {")
    assert recorded.told == b"data: hi\n\n"
    await recorded.feed(b"", more)
    assert (recorded.told, recorded.ended_with) == (b"data: hi\n\ndata: {", [more])
