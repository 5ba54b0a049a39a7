"""A chat that is written anew says the same whole and streamed, whatever it says, and however its
pieces come; and the events of its stream agree with each other."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.types import Call, Usage
from gateway.dialects.messages_answered import MessageWriter
from gateway.dialects.responses_answered import ResponseWriter
from gateway.dialects.streams import events_of

UNTIMED = settings(deadline=None, max_examples=60)
USED = Usage(input_tokens=3, output_tokens=2)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
CALLS = st.lists(
    st.tuples(st.sampled_from(("walk", "see", "go on")), st.dictionaries(TEXTS, TEXTS, max_size=2)),
    max_size=3,
)
CUTS = st.lists(st.integers(0, 40), max_size=4)
MANNERS = st.sampled_from(("numbered", "one number", "no number", "late names", "objects"))
"""In which servers tell the calls of a stream apart."""


def message_of(thought: str, text: str, calls: list[tuple[str, dict[str, str]]]) -> dict[str, Any]:
    called = [
        {
            "id": f"call_{n}",
            "type": "function",
            "function": {"name": name, "arguments": compact(arguments)},
        }
        for n, (name, arguments) in enumerate(calls)
    ]
    return {"content": text, "reasoning_content": thought, "tool_calls": called}


def compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def cut(text: str, cuts: list[int]) -> list[str]:
    places = sorted({at for at in cuts if 0 < at < len(text)})
    return [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]


def deltas(message: dict[str, Any], cuts: list[int], manner: str) -> list[dict[str, Any]]:
    """The message in pieces."""
    found: list[dict[str, Any]] = [{"role": "assistant"}]
    for name in ("reasoning_content", "content"):
        found += [{name: piece} for piece in cut(message[name], cuts)]
    for n, call in enumerate(message["tool_calls"]):
        found += [{"tool_calls": [piece]} for piece in _call_pieces(n, call, cuts, manner)]
    return found


def _call_pieces(n: int, call: Any, cuts: list[int], manner: str) -> list[dict[str, Any]]:
    index = {"one number": {"index": 0}, "no number": {}}.get(manner, {"index": n})
    name, arguments = call["function"]["name"], call["function"]["arguments"]
    if manner == "objects":
        given = {"name": name, "arguments": json.loads(arguments)}
        return [{**index, "id": call["id"], "function": given}]
    begin: list[dict[str, Any]] = [{**index, "id": call["id"], "function": {"name": name}}]
    if manner == "late names":
        begin = [{**index, "id": call["id"]}, {**index, "function": {"name": name}}]
    rest = [{**index, "function": {"arguments": piece}} for piece in cut(arguments, cuts)]
    return begin + rest


def written(writer: Any, pieces: list[dict[str, Any]], finish: str) -> list[dict[str, Any]]:
    """The events of the stream."""
    ended = {"index": 0, "delta": {}, "finish_reason": finish}
    events = [{"choices": [{"index": 0, "delta": one}]} for one in pieces] + [{"choices": [ended]}]
    data = b"".join([writer.piece(event) for event in events])
    return list(events_of(data + b"".join(writer.last(USED))))


def call_for(task: Any) -> Call:
    body = b'{"model": "m", "input": "hi", "messages": []}'
    return Call(id="req_1", model="m", task=task, body=body)


def answer_of(message: dict[str, Any], finish: str) -> bytes:
    choice = {"index": 0, "message": message, "finish_reason": finish}
    return json.dumps({"choices": [choice]}).encode()


def assembled_message(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The content of a message as its readers put it together."""
    blocks: list[dict[str, Any]] = []
    inputs: dict[int, str] = {}
    for event in events:
        if event["type"] == "content_block_start":
            assert event["index"] == len(blocks)
            blocks.append(dict(event["content_block"]))
        if event["type"] == "content_block_delta":
            delta, block = event["delta"], blocks[event["index"]]
            if delta["type"] == "input_json_delta":
                at = event["index"]
                inputs[at] = inputs.get(at, "") + delta["partial_json"]
            else:
                field = "thinking" if delta["type"] == "thinking_delta" else "text"
                block[field] += delta[field]
    return [
        {**block, "input": json.loads(inputs[n])} if n in inputs else block
        for n, block in enumerate(blocks)
    ]


@UNTIMED
@given(thought=TEXTS, text=TEXTS, calls=CALLS, cuts=CUTS, manner=MANNERS)
def test_a_message_is_the_same_whole_and_streamed(
    thought: str, text: str, calls: Any, cuts: list[int], manner: str
) -> None:
    message = message_of(thought, text, calls)
    finish = "tool_calls" if calls else "stop"
    whole = json.loads(MessageWriter(call_for("messages")).whole(answer_of(message, finish), USED))
    events = written(MessageWriter(call_for("messages")), deltas(message, cuts, manner), finish)
    assert assembled_message(events) == whole["content"]
    [ended] = [event for event in events if event["type"] == "message_delta"]
    assert ended["delta"]["stop_reason"] == whole["stop_reason"]


@UNTIMED
@given(thought=TEXTS, text=TEXTS, calls=CALLS, cuts=CUTS, manner=MANNERS)
def test_a_response_is_the_same_whole_and_streamed(
    thought: str, text: str, calls: Any, cuts: list[int], manner: str
) -> None:
    message = message_of(thought, text, calls)
    finish = "tool_calls" if calls else "stop"
    body = answer_of(message, finish)
    whole = json.loads(ResponseWriter(call_for("responses")).whole(body, USED))
    events = written(ResponseWriter(call_for("responses")), deltas(message, cuts, manner), finish)
    assert events[-1]["response"] == whole
    check_events(events, whole["output"])


def check_events(events: list[dict[str, Any]], output: list[dict[str, Any]]) -> None:
    """Each item is begun and ended once, and is what its pieces come to."""
    assert [event["sequence_number"] for event in events] == [*range(len(events))]
    done = [event for event in events if event["type"] == "response.output_item.done"]
    assert sorted(event["output_index"] for event in done) == [*range(len(output))]
    for event in done:
        assert event["item"] == output[event["output_index"]]
    for at, item in enumerate(output):
        said = "".join(
            event["delta"]
            for event in events
            if event["type"].endswith(".delta") and event["output_index"] == at
        )
        is_call = item["type"] == "function_call"
        part = {} if is_call else item["content"][0]
        assert said == (item["arguments"] if is_call else part.get("text", part.get("refusal")))


def test_pieces_of_calls_may_come_in_any_order() -> None:
    """Each is more of its own call."""
    pieces: list[dict[str, Any]] = [
        {"tool_calls": [{"index": 0, "id": "a", "function": {"name": "f", "arguments": '{"x"'}}]},
        {"tool_calls": [{"index": 1, "id": "b", "function": {"name": "g", "arguments": '{"y"'}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": ":1}"}}]},
        {"content": "so"},
        {"tool_calls": [{"index": 1, "function": {"arguments": ":2}"}}]},
    ]
    events = written(ResponseWriter(call_for("responses")), pieces, "tool_calls")
    output = events[-1]["response"]["output"]
    told = [(one.get("call_id"), one.get("arguments")) for one in output]
    assert told == [("a", '{"x":1}'), ("b", '{"y":2}'), (None, None)]
    check_events(events, output)
    blocks = assembled_message(written(MessageWriter(call_for("messages")), pieces, "tool_calls"))
    assert [one.get("input") for one in blocks] == [{"x": 1}, {"y": 2}, None]


def test_a_refusal_is_told_as_one() -> None:
    refusal = {"content": None, "refusal": "I cannot."}
    body = answer_of(refusal, "stop")
    response = json.loads(ResponseWriter(call_for("responses")).whole(body, USED))
    assert response["output"][0]["content"] == [{"type": "refusal", "refusal": "I cannot."}]
    events = written(ResponseWriter(call_for("responses")), [refusal], "stop")
    assert events[-1]["response"]["output"] == response["output"]
    assert "response.refusal.done" in [event["type"] for event in events]
    message = json.loads(MessageWriter(call_for("messages")).whole(body, USED))
    assert (message["stop_reason"], message["content"][0]["text"]) == ("refusal", "I cannot.")
