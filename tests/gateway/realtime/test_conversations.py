"""What passes between a client and a backend, and what it is charged."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus

from gateway.clock import FakeClock
from tests.adapters.openai.realtime_server import eventually
from tests.gateway.realtime.conversations import RESPONSE_NANO, heard, said, talks

CREATE = {"type": "response.create"}


async def test_the_genuine_client_talks_and_pays_for_its_responses(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with talks(tmp_path, clock) as found:
        client = found.client(found.gateway.key(plan="default"))
        async with client.realtime.connect(model="alias") as talk:
            assert (await talk.recv()).type == "session.created"
            await talk.session.update(session={"type": "realtime", "instructions": "be brief"})
            for _ in range(2):
                await talk.response.create()
                events = [await talk.recv() for _ in range(4)]
                assert [getattr(one, "delta", "") for one in events] == ["a ", "spill ", "gate", ""]
        row = await found.row()
        assert (row.outcome, row.model, row.task, row.backend) == (
            "success",
            "talk",
            "realtime",
            "voice",
        )
        assert (row.input_tokens, row.output_tokens) == (200, 80)
        assert (row.cost_nano, row.cost_basis) == (2 * RESPONSE_NANO, "reported")
        assert [event["type"] for event in found.server.events] == [
            "session.update",
            "response.create",
            "response.create",
        ]
        assert found.server.requests[0][0] == "/v1/realtime?model=up"
        assert found.server.ended == [1000]


async def test_a_page_shows_its_key_among_the_protocols(tmp_path: Path, clock: FakeClock) -> None:
    async with talks(tmp_path, clock) as found:
        offered = ["realtime", f"openai-insecure-api-key.{found.gateway.key()}"]
        offered.append("openai-beta.realtime-v1")
        async with found.connect(additional_headers={}, subprotocols=offered) as socket:
            assert socket.subprotocol == "realtime"
            await heard(socket, "session.created")
        assert (await found.row()).user == "alice"
        assert found.server.requests[0][1]["openai-beta"] == "realtime=v1"
        assert "authorization" not in found.server.requests[0][1]


async def test_a_session_by_time_pays_for_its_seconds(tmp_path: Path, clock: FakeClock) -> None:
    async with talks(tmp_path, clock) as found:
        async with found.connect("timed") as socket:
            await heard(socket, "session.created")
            await clock.advance(20)
        row = await found.row()
        assert (row.outcome, row.exec_us, row.cost_nano) == ("success", 20_000_000, 20_000_000)
        assert row.hold_nano >= row.cost_nano


async def test_a_response_that_tells_no_tokens_is_estimated(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with talks(tmp_path, clock) as found:
        async with found.connect() as socket:
            await said(socket, {**CREATE, "event_id": "silent"})
            for _ in range(4):
                await socket.recv()
        row = await found.row()
        assert (row.output_tokens, row.cost_basis) == (3, "estimated")
        assert row.cost_nano > 0


@pytest.mark.parametrize(
    ("query", "key", "status", "code"),
    [
        pytest.param("model=talk", "none", 401, "missing_api_key", id="no key"),
        pytest.param("model=talk", "sg-nobodys", 401, "invalid_api_key", id="another's key"),
        pytest.param("model=nothing", "", 404, "model_not_found", id="no such model"),
        pytest.param("model=chat", "", 400, "wrong_endpoint", id="a model of chats"),
        pytest.param("", "", 400, "missing_field", id="no model"),
        pytest.param("model=talk&call_id=c", "", 400, "unsupported", id="a call by telephone"),
    ],
)
async def test_what_is_refused_is_an_answer_of_http(
    query: str, key: str, status: int, code: str, tmp_path: Path, clock: FakeClock
) -> None:
    async with talks(tmp_path, clock) as found:
        shown = {"Authorization": f"Bearer {key or found.gateway.key()}"}
        headers = {} if key == "none" else shown
        model = query.removeprefix("model=")
        url = found.connect(model, additional_headers=headers)
        if not query:
            url = found.connect("", additional_headers=headers)
        with pytest.raises(InvalidStatus) as refused:
            await url
        assert refused.value.response.status_code == status
        error = json.loads(bytes(refused.value.response.body))["error"]
        assert error["code"] == code
        if code == "wrong_endpoint":
            assert error["message"].endswith("ask it at /v1/chat/completions.")
        assert found.server.requests == []


async def test_a_request_that_wishes_for_no_websocket_is_told_to(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with talks(tmp_path, clock) as found:
        reader, writer = await asyncio.open_connection("127.0.0.1", found.port)
        head = "GET /v1/realtime?model=talk HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
        head = head.replace("{key}", found.gateway.key())
        writer.write(f"{head}\r\n".encode())
        assert (await reader.readline()).startswith(b"HTTP/1.1 426 ")
        await reader.readuntil(b"}}")
        writer.write(f"{head}Connection: upgrade\r\nUpgrade: websocket\r\n\r\n".encode())
        assert (await reader.readline()).startswith(b"HTTP/1.1 400 ")
        assert b"invalid_websocket" in await reader.read()
        writer.close()


async def test_what_comes_with_the_handshake_is_not_lost(tmp_path: Path, clock: FakeClock) -> None:
    async with talks(tmp_path, clock) as found:
        reader, writer = await asyncio.open_connection("127.0.0.1", found.port)
        event = json.dumps(CREATE).encode()
        frame = bytes((0x81, 0x80 | len(event), 0, 0, 0, 0)) + event  # masked by nothing
        key = "dGhlIHNhbXBsZSBub25jZQ=="
        head = (
            "GET /v1/realtime?model=talk HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n"
            f"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
            f"Authorization: Bearer {found.gateway.key()}\r\n\r\n"
        )
        writer.write(head.encode() + frame[:4])
        await asyncio.sleep(0)
        writer.write(frame[4:])
        assert (await reader.readline()).startswith(b"HTTP/1.1 101 ")
        assert b"response.done" in await reader.readuntil(b"response.done")
        writer.transport.abort()
        assert (await found.row()).cost_nano == RESPONSE_NANO


async def test_what_a_server_refuses_is_told_with_its_status(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with talks(tmp_path, clock) as found:
        found.server.refuses = (400, b'{"error":{"message":"no such voice","code":"bad_voice"}}')
        with pytest.raises(InvalidStatus) as refused:
            await found.connect()
        assert refused.value.response.status_code == 400
        assert b"no such voice" in bytes(refused.value.response.body)
        row = await found.row()
        assert (row.outcome, row.error, row.cost_nano) == ("error", "invalid", 0)


async def test_a_server_that_is_not_there_is_passed_by(tmp_path: Path, clock: FakeClock) -> None:
    async with talks(tmp_path, clock) as found:
        async with found.connect("spare") as socket:
            await heard(socket, "session.created")
        row = await found.row()
        assert (row.backend, row.outcome) == ("voice", "success")


async def test_a_session_that_begins_with_an_error_is_none(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with talks(tmp_path, clock) as found:
        error = {"type": "invalid_request_error", "code": "model_not_found", "message": "no up"}
        found.server.first = json.dumps({"type": "error", "error": error})
        with pytest.raises(InvalidStatus) as refused:
            await found.connect()
        assert refused.value.response.status_code >= 400
        assert (await found.row()).cost_nano == 0


async def test_two_at_once_are_more_than_a_key_may_have(tmp_path: Path, clock: FakeClock) -> None:
    async with talks(tmp_path, clock) as found:
        key = found.gateway.key(plan="one")
        async with found.connect(key=key) as socket:
            await heard(socket, "session.created")
            with pytest.raises(InvalidStatus) as refused:
                await found.connect(key=key)
            assert refused.value.response.status_code == 429
        await found.row()
        async with found.connect(key=key) as socket:
            await heard(socket, "session.created")


async def test_large_messages_and_many_pass_both_ways(tmp_path: Path, clock: FakeClock) -> None:
    async with talks(tmp_path, clock) as found:
        async with found.connect(max_size=None) as socket:
            sound = {"type": "input_audio_buffer.append", "audio": "A" * 3_000_000}
            await said(socket, *([sound] * 3), *({"type": "x", "n": n} for n in range(200)))
            await said(socket, CREATE)
            await heard(socket, "response.done")
        assert len(found.server.events) == 204
        assert found.server.events[0] == sound
        await eventually(lambda: found.server.ended == [1000])
        assert not found.state.connections
