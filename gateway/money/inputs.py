"""What a request holds whose tokens its bytes do not show: images, sounds, films and files, by
address or as data, and what an engine looks up for itself. Pure.

A picture of a million bytes may be 85 tokens, and an address of 130 bytes 16,000: a hold by bytes
alone would be too much for the one and too little for the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import msgspec

PartKind = Literal["image", "audio", "video", "file", "tool", "kept", "call"]
"""``tool``: one that runs at the engine, such as a search of the web, and whose findings are read
as input. ``kept``: what the engine keeps and a request only names. ``call``: what any call of a
model has beside its text, such as a prompt of the server's own."""

_PARTS: dict[str, PartKind] = {
    "image_url": "image",
    "input_image": "image",
    "image": "image",
    "input_audio": "audio",
    "audio_url": "audio",
    "audio": "audio",
    "video_url": "video",
    "input_video": "video",
    "video": "video",
    "file": "file",
    "input_file": "file",
    "document": "file",
}
"""By their ``type``: those of OpenAI's chat and responses, of vLLM's and SGLang's, and of
Anthropic's."""
_TEXTS = frozenset(("text", "input_text", "output_text", "refusal", "thinking", "reasoning"))
_AT_CALLER = frozenset(("function", "custom"))
"""Tools that the caller runs: their texts are in the body."""


class InputParts(msgspec.Struct, frozen=True):
    """How many parts of each kind a request has."""

    counts: tuple[tuple[PartKind, int], ...] = ()
    data_bytes: int = 0
    """Of the body, what is the parts' own data: no text, and counted by their factors."""

    def tokens(self, per: Mapping[str, int]) -> int:
        """The most tokens that they should be, by factors per part."""
        return sum(count * per.get(kind, 0) for kind, count in self.counts)


TEXT_ALONE = InputParts()


def parts_of(messages: Iterable[Any], tools: Any = None, searches: Any = None) -> InputParts:
    """What the messages of a chat hold beside text; ``tools`` are what the request says of tools,
    and ``searches`` its ``web_search_options``, of which any value asks for one."""
    counts: dict[PartKind, int] = {}
    data = 0
    for message in messages:
        content = message.get("content") if isinstance(message, dict) else None
        if isinstance(content, list):
            for part in content:
                if (kind := _kind_of(part)) is not None:
                    counts[kind] = counts.get(kind, 0) + 1
                    data += _data_in(part)
    if tools or searches is not None:
        at_engine = _at_engine(tools) + (searches is not None)
        if at_engine:
            counts["tool"] = at_engine
    return InputParts(tuple(counts.items()), data) if counts else TEXT_ALONE


def _kind_of(part: Any) -> PartKind | None:
    """None of a text; what is not known is taken for a file."""
    if not isinstance(part, dict):
        return None
    kind = part.get("type")
    if isinstance(kind, str):
        return None if kind in _TEXTS else _PARTS.get(kind, "file")
    return next((_PARTS[name] for name in part if name in _PARTS), None)


def _at_engine(tools: Any) -> int:
    if not isinstance(tools, list):
        return 0
    kinds = [tool.get("type") for tool in tools if isinstance(tool, dict)]
    return sum(not isinstance(kind, str) or kind not in _AT_CALLER for kind in kinds)


def _data_in(part: Any) -> int:
    """Bytes of base64 at whatever depth: of addresses that hold their data, and of ``data``."""
    found, left = 0, [("", part)]
    while left:
        name, value = left.pop()
        if isinstance(value, str):
            if value.startswith("data:") or name in ("data", "file_data"):
                found += len(value)
        elif isinstance(value, dict):
            left.extend(value.items())
        elif isinstance(value, list):
            left.extend((name, item) for item in value)
    return found


class LearnedInputs:
    """Tokens of input beyond what is held for each part, as a backend's answers have told of one
    model.

    They never fall by themselves: a caller who sends small pictures first must not be able to
    send large ones for less.
    """

    __slots__ = ("more",)

    def __init__(self) -> None:
        self.more: dict[PartKind, int] = {}
        """More tokens per part; "call" is for each call."""

    def learn(self, parts: InputParts, held: int, used: int) -> None:
        """A call for whose input ``held`` tokens were held had ``used``."""
        if used <= held:
            return
        for kind, count in parts.counts or (("call", 1),):
            self.more[kind] = self.more.get(kind, 0) - (held - used) // count

    def tokens(self, parts: InputParts) -> int:
        """The tokens to hold beside those by the declared factors."""
        more = self.more
        return more.get("call", 0) + sum(count * more.get(kind, 0) for kind, count in parts.counts)
