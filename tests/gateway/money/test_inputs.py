"""What a request holds beside text, and how much must be held for it."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.api.calls.openai import DECODERS, parts_in
from gateway.money.inputs import TEXT_ALONE, InputParts, LearnedInputs, parts_of

TEXT = {"type": "text", "text": "what is this?"}
PICTURE = {"type": "image_url", "image_url": {"url": "https://example.org/cat.png"}}
DATA = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 1000}}
SOUND = {"type": "input_audio", "input_audio": {"data": "B" * 500, "format": "wav"}}
FILE = {"type": "file", "file": {"file_data": "C" * 300, "filename": "a.pdf"}}


def asked(*parts: Any) -> list[dict[str, Any]]:
    return [{"role": "system", "content": "be brief"}, {"role": "user", "content": list(parts)}]


@pytest.mark.parametrize(
    ("parts", "counts", "data"),
    [
        ([TEXT], {}, 0),
        ([TEXT, PICTURE], {"image": 1}, 0),
        ([PICTURE, TEXT, DATA], {"image": 2}, 1022),
        ([SOUND], {"audio": 1}, 500),
        ([FILE, PICTURE], {"file": 1, "image": 1}, 300),
        ([{"type": "video_url", "video_url": {"url": "x"}}], {"video": 1}, 0),
        ([{"type": "document", "source": {"type": "base64", "data": "D" * 9}}], {"file": 1}, 9),
        ([{"type": "hologram", "hologram": 1}], {"file": 1}, 0),
        ([{"image_url": {"url": "x"}}], {"image": 1}, 0),
        (["a text alone", None, 3], {}, 0),
    ],
    ids=str,
)
def test_the_parts_of_a_request_are_counted_by_kind(
    parts: list[Any], counts: dict[str, int], data: int
) -> None:
    found = parts_of(asked(*parts))
    assert dict(found.counts) == counts
    assert found.data_bytes == data


@pytest.mark.parametrize(
    "messages",
    [[], [None], ["text"], [{"content": None}], [{"content": "a"}], [{"content": {"a": 1}}]],
    ids=str,
)
def test_text_has_no_parts(messages: list[Any]) -> None:
    assert parts_of(messages) is TEXT_ALONE


def test_a_tool_of_the_engine_reads_input_and_one_of_the_caller_does_not() -> None:
    own = {"type": "function", "function": {"name": "f"}}
    assert parts_of(asked(TEXT), [own]) is TEXT_ALONE
    assert parts_of(asked(TEXT), [own, {"type": "web_search"}]).counts == (("tool", 1),)
    assert parts_of(asked(TEXT), searches={}).counts == (("tool", 1),)
    assert parts_of(asked(TEXT), "no list") is TEXT_ALONE


def test_a_part_is_the_tokens_that_are_declared_for_its_kind() -> None:
    parts = parts_of(asked(PICTURE, PICTURE, SOUND))
    assert parts.tokens({"image": 1000, "audio": 50}) == 2050
    assert parts.tokens({}) == 0


def test_a_call_that_had_more_than_was_held_teaches_the_next_of_its_kind() -> None:
    """And nothing of another kind."""
    learned, two = LearnedInputs(), InputParts((("image", 2),))
    learned.learn(two, held=1000, used=5001)
    assert learned.tokens(two) == 4002
    assert 1000 + learned.tokens(two) >= 5001
    assert learned.tokens(InputParts((("image", 1),))) == 2001
    assert learned.tokens(InputParts((("audio", 3),))) == learned.tokens(TEXT_ALONE) == 0


def test_what_was_learned_never_falls() -> None:
    learned, one = LearnedInputs(), InputParts((("image", 1),))
    learned.learn(one, held=100, used=900)
    learned.learn(one, held=900, used=85)
    assert learned.tokens(one) == 800


def test_text_that_was_more_than_its_bytes_is_learned_for_every_call() -> None:
    """A server may put a prompt of its own before each."""
    learned = LearnedInputs()
    learned.learn(TEXT_ALONE, held=50, used=350)
    assert learned.tokens(TEXT_ALONE) == learned.tokens(InputParts((("image", 1),))) == 300


@pytest.mark.parametrize(
    "asked",
    [
        '"previous_response_id": "resp_1", "input": "go on"',
        '"conversation": "conv_1", "input": "go on"',
        '"conversation": {"id": "conv_1"}, "input": [{"role": "user", "content": "go on"}]',
        '"prompt": {"id": "pmpt_1"}, "input": "go on"',
        '"input": [{"type": "item_reference", "id": "msg_1"}, {"id": "msg_2"}]',
        '"previous_response_id": "resp_1", "input": [{"type": "item_reference", "id": "msg_1"}]',
    ],
    ids=("response", "conversation", "its id", "prompt", "items", "both"),
)
def test_what_a_response_only_names_is_held_for_once(asked: str) -> None:
    """Ninety bytes may stand for all that was said before."""
    body = DECODERS["responses"].decode(f'{{"model": "m", {asked}}}')
    assert parts_in(body).counts == (("kept", 1),)


@pytest.mark.parametrize("none", ["null", '""', "{}"], ids=("null", "empty", "object"))
def test_a_response_that_names_nothing_is_its_text(none: str) -> None:
    body = DECODERS["responses"].decode(
        f'{{"model": "m", "input": "hi", "previous_response_id": {none}, "prompt": {none}}}'
    )
    assert parts_in(body) is TEXT_ALONE


def test_what_is_kept_is_counted_beside_the_parts_that_are_there() -> None:
    picture = '{"role": "user", "content": [{"type": "input_image", "image_url": "https://x/y"}]}'
    body = DECODERS["responses"].decode(
        f'{{"model": "m", "input": [{picture}], "conversation": "conv_1"}}'
    )
    assert parts_in(body).counts == (("image", 1), ("kept", 1))
