"""What the policy says of tokens that a request's bytes do not show."""

from __future__ import annotations

from typing import Annotated

import msgspec

Tokens = Annotated[int, msgspec.Meta(ge=0, le=100_000_000)]


class TokensPerPart(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The most input tokens that one part of a request can be, where its bytes do not show it: what
    is held for it at a price by tokens. What turns out to be more is learned."""

    image: Tokens = 16_384
    """A picture: the default is the most that Qwen2-VL makes of one (max_pixels 12,845,056, a token
    for 28 x 28 of them)."""
    audio: Tokens = 8_192
    """A sound: some five minutes at 25 tokens a second."""
    video: Tokens = 32_768
    """A film."""
    file: Tokens = 65_536
    """A document, or a part of a kind that is not known."""
    tool: Tokens = 16_384
    """A tool that the engine runs itself, such as a search of the web: what it reads."""
    kept: Tokens = 131_072
    """What a request names and the engine keeps, such as the response that it goes on from: as
    much as most models can read."""

    def by_kind(self) -> dict[str, int]:
        """The figures by the kind of part."""
        return msgspec.structs.asdict(self)
