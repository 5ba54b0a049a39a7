"""A server of OpenAI's realtime protocol that keeps to its documents: each event that it sends is
one of those that OpenAI's own package describes, with no field more, in the order in which the
documents have them, and it notes what else it is sent. Its answers depend on nothing but what it
was asked.

Source: https://platform.openai.com/docs/api-reference/realtime-server-events and
``openai.types.realtime``, as of 2026-11.
"""

from __future__ import annotations

import json
from typing import Any

import pydantic
from openai.types.realtime import RealtimeClientEvent, RealtimeServerEvent
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from tests.adapters.openai.realtime_server import RealtimeServer

_SAID = pydantic.TypeAdapter[Any](RealtimeServerEvent)
_HEARD = pydantic.TypeAdapter[Any](RealtimeClientEvent)
SPEECH = "U1BFRUNI" * 400
"""A sound in which its voice detection hears a whole sentence."""
SOUND = "AAAA" * 800
_WORDS = ("It ", "is ", "öpen ", "東京.")


def is_documented(kinds: pydantic.TypeAdapter[Any], event: Any) -> bool:
    """Whether it is one of these events, and has nothing that is not described."""
    return not _beyond(kinds.validate_python(event))


def _beyond(value: Any) -> list[str]:
    """Fields that no document has."""
    if isinstance(value, list):
        return [name for one in value for name in _beyond(one)]
    if not isinstance(value, pydantic.BaseModel):
        return []
    found = list(value.model_extra or ())
    return found + [name for field in dict(value).values() for name in _beyond(field)]


class DocumentedRealtime(RealtimeServer):
    """``undocumented`` are events of its clients that are in no document."""

    def __init__(self) -> None:
        super().__init__()
        self.undocumented: list[Any] = []

    async def answer(self, socket: ServerConnection) -> None:
        """One session."""
        assert socket.request is not None
        model = socket.request.path.partition("model=")[2].partition("&")[0]
        session = _Session(socket, model)
        try:
            await session.tell("session.created", session=session.described)
            async for message in socket:
                event = json.loads(message)
                self.events.append(event)
                if not _is_known(event):
                    self.undocumented.append(event)
                await session.hear(event)
        except ConnectionClosed:
            pass
        finally:
            self.ended.append(socket.close_code)


def _is_known(event: Any) -> bool:
    try:
        return is_documented(_HEARD, event)
    except pydantic.ValidationError:
        return False


class _Session:
    """One conversation."""

    def __init__(self, socket: ServerConnection, model: str) -> None:
        self._socket = socket
        self._events = self._names = self._responses = 0
        self._items: dict[str, dict[str, Any]] = {}
        self._heard = ""
        self._active: dict[str, Any] | None = None
        """The response that goes on until it is cancelled."""
        self._settings: dict[str, Any] = {
            "output_modalities": ["audio"],
            "tools": [],
            "audio": {"input": {"turn_detection": None}},
        }
        self._model = model

    @property
    def described(self) -> dict[str, Any]:
        return {"type": "realtime", "model": self._model, **self._settings}

    async def tell(self, type: str, **fields: Any) -> None:
        """Sends an event, which is one of those that are documented."""
        self._events += 1
        event = {"event_id": f"event_{self._events}", "type": type, **fields}
        assert is_documented(_SAID, event), event
        await self._socket.send(json.dumps(event, ensure_ascii=False))

    async def hear(self, event: dict[str, Any]) -> None:
        """Does what an event asks for."""
        match event["type"]:
            case "session.update":
                asked = {k: v for k, v in event["session"].items() if k != "type"}
                self._settings = {**self._settings, **asked}
                await self.tell("session.updated", session=self.described)
            case "conversation.item.create":
                await self._add(event["item"])
            case "conversation.item.retrieve":
                await self.tell("conversation.item.retrieved", item=self._items[event["item_id"]])
            case "conversation.item.delete":
                del self._items[event["item_id"]]
                await self.tell("conversation.item.deleted", item_id=event["item_id"])
            case "conversation.item.truncate":
                same = {k: event[k] for k in ("item_id", "content_index", "audio_end_ms")}
                await self.tell("conversation.item.truncated", **same)
            case "input_audio_buffer.append":
                await self._listen(event["audio"])
            case "input_audio_buffer.commit":
                await self._commit()
            case "input_audio_buffer.clear":
                self._heard = ""
                await self.tell("input_audio_buffer.cleared")
            case "response.create":
                await self._create(event)
            case "response.cancel":
                await self._cancel(event)
            case other:
                said = f"Invalid value: '{other}'."
                await self._refuse(event, "invalid_value", said, "type")

    async def _refuse(
        self, event: dict[str, Any], code: str, message: str, param: str | None = None
    ) -> None:
        error = {"type": "invalid_request_error", "code": code, "message": message, "param": param}
        await self.tell("error", error={**error, "event_id": event.get("event_id")})

    def _name(self, kind: str) -> str:
        self._names += 1
        return f"{kind}_{self._names}"

    # --- what was said -----------------------------------------------------------------------

    async def _add(self, given: dict[str, Any]) -> str:
        item = {"id": self._name("item"), "object": "realtime.item", "status": "completed", **given}
        before = next(reversed(self._items), None)
        self._items[item["id"]] = item
        await self.tell("conversation.item.added", item=item, previous_item_id=before)
        await self.tell("conversation.item.done", item=item, previous_item_id=before)
        return str(item["id"])

    async def _listen(self, audio: str) -> None:
        self._heard += audio
        detects = self._settings["audio"]["input"].get("turn_detection")
        if not detects or SPEECH not in self._heard:
            return
        item = f"item_{self._names + 1}"
        await self.tell("input_audio_buffer.speech_started", audio_start_ms=0, item_id=item)
        await self.tell("input_audio_buffer.speech_stopped", audio_end_ms=400, item_id=item)
        await self._commit()
        await self._respond({})

    async def _commit(self) -> None:
        before = next(reversed(self._items), None)
        item = f"item_{self._names + 1}"
        await self.tell("input_audio_buffer.committed", item_id=item, previous_item_id=before)
        part = {"type": "input_audio", "transcript": "open it"}
        await self._add({"type": "message", "role": "user", "content": [part]})
        self._heard = ""
        at = {"item_id": item, "content_index": 0}
        kind = "conversation.item.input_audio_transcription"
        await self.tell(f"{kind}.delta", **at, delta="open ")
        usage = {"type": "tokens", "input_tokens": 14, "output_tokens": 3, "total_tokens": 17}
        details = {"text_tokens": 4, "audio_tokens": 10}
        used = {**usage, "input_token_details": details}
        await self.tell(f"{kind}.completed", **at, transcript="open it", usage=used)

    # --- responses ---------------------------------------------------------------------------

    async def _create(self, event: dict[str, Any]) -> None:
        if self._active is not None:
            said = "Conversation already has an active response in progress."
            await self._refuse(event, "conversation_already_has_active_response", said)
            return
        await self._respond(event.get("response") or {})

    async def _cancel(self, event: dict[str, Any]) -> None:
        response, self._active = self._active, None
        if response is None:
            said = "Cancellation failed: no active response found"
            await self._refuse(event, "response_cancel_not_active", said)
            return
        status = {"type": "cancelled", "reason": "client_cancelled"}
        ended = {"status": "cancelled", "status_details": status, "usage": self._used(2, 0)}
        await self.tell("response.done", response={**response, **ended})

    async def _respond(self, asked: dict[str, Any]) -> None:
        """``instructions`` of "wait": it goes on until it is cancelled."""
        self._responses += 1
        modalities = asked.get("output_modalities") or self._settings["output_modalities"]
        response = {
            "object": "realtime.response",
            "id": self._name("resp"),
            "status": "in_progress",
            "output": [],
            "output_modalities": modalities,
            "conversation_id": "conv_1",
            "max_output_tokens": "inf",
            "metadata": asked.get("metadata"),
        }
        await self.tell("response.created", response=response)
        limits = [{"name": "tokens", "limit": 1000, "remaining": 900, "reset_seconds": 1.5}]
        await self.tell("rate_limits.updated", rate_limits=limits)
        last = next(reversed(self._items.values()), {})
        if self._settings["tools"] and last.get("type") != "function_call_output":
            item = await self._call_a_tool(response["id"])
        elif asked.get("instructions") == "wait":
            await self._begin(response["id"], self._name("item"), "output_text", _WORDS[:1])
            self._active = response
            return
        else:
            item = await self._speak(response["id"], is_sound="audio" in modalities)
        made = (0, 12) if item["type"] == "message" and "audio" in modalities else (6, 0)
        ended = {"status": "completed", "output": [item], "usage": self._used(*made)}
        await self.tell("response.done", response={**response, **ended})

    def _used(self, text: int, sound: int) -> dict[str, Any]:
        """What was said before is cached, of each response as much more."""
        before, all_ = self._responses - 1, self._responses
        cached = {"text_tokens": 5 * before, "audio_tokens": 20 * before}
        given = {"text_tokens": 12 * all_, "audio_tokens": 30 * all_}
        read, told = sum(given.values()), sum(cached.values())
        return {
            "total_tokens": read + text + sound + 4 * bool(sound),
            "input_tokens": read,
            "output_tokens": text + sound + 4 * bool(sound),
            "input_token_details": {
                **given,
                "cached_tokens": told,
                "cached_tokens_details": cached,
            },
            "output_token_details": {
                "text_tokens": text + 4 * bool(sound),
                "audio_tokens": sound,
            },
        }

    async def _begin(self, response: str, item: str, kind: str, words: tuple[str, ...]) -> None:
        at = {"response_id": response, "output_index": 0}
        message = {"id": item, "object": "realtime.item", "type": "message", "role": "assistant"}
        begun = {**message, "status": "in_progress", "content": []}
        await self.tell("response.output_item.added", **at, item=begun)
        before = next(reversed(self._items), None)
        await self.tell("conversation.item.added", item=begun, previous_item_id=before)
        at |= {"item_id": item, "content_index": 0}
        part = {"type": "text", "text": ""}
        if kind == "output_audio_transcript":
            part = {"type": "audio", "transcript": ""}
        await self.tell("response.content_part.added", **at, part=part)
        for word in words:
            await self.tell(f"response.{kind}.delta", **at, delta=word)
            if kind == "output_audio_transcript":
                await self.tell("response.output_audio.delta", **at, delta=SOUND)

    async def _speak(self, response: str, *, is_sound: bool) -> dict[str, Any]:
        item, text = self._name("item"), "".join(_WORDS)
        kind = "output_audio_transcript" if is_sound else "output_text"
        await self._begin(response, item, kind, _WORDS)
        at = {"response_id": response, "output_index": 0, "item_id": item, "content_index": 0}
        field = "transcript" if is_sound else "text"
        if is_sound:
            await self.tell("response.output_audio.done", **at)
        await self.tell(f"response.{kind}.done", **at, **{field: text})
        part = {"type": "audio" if is_sound else "text", field: text}
        await self.tell("response.content_part.done", **at, part=part)
        content = {"type": "output_audio" if is_sound else "output_text", field: text}
        message = {"id": item, "object": "realtime.item", "type": "message", "role": "assistant"}
        return await self._item_done(
            response, {**message, "status": "completed", "content": [content]}
        )

    async def _call_a_tool(self, response: str) -> dict[str, Any]:
        item, call = self._name("item"), self._name("call")
        own = {"id": item, "object": "realtime.item", "type": "function_call", "call_id": call}
        begun = {**own, "name": "level", "status": "in_progress", "arguments": ""}
        at = {"response_id": response, "output_index": 0}
        await self.tell("response.output_item.added", **at, item=begun)
        before = next(reversed(self._items), None)
        await self.tell("conversation.item.added", item=begun, previous_item_id=before)
        at |= {"item_id": item, "call_id": call}
        for piece in ('{"lake":', ' "ñorth"}'):
            await self.tell("response.function_call_arguments.delta", **at, delta=piece)
        arguments = '{"lake": "ñorth"}'
        name = "response.function_call_arguments.done"
        await self.tell(name, **at, name="level", arguments=arguments)
        whole = {**begun, "status": "completed", "arguments": arguments}
        return await self._item_done(response, whole)

    async def _item_done(self, response: str, item: dict[str, Any]) -> dict[str, Any]:
        before = next(reversed(self._items), None)
        self._items[item["id"]] = item
        await self.tell("conversation.item.done", item=item, previous_item_id=before)
        at = {"response_id": response, "output_index": 0}
        await self.tell("response.output_item.done", **at, item=item)
        return item
