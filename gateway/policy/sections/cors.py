"""The section ``server.cors``: which pages of browsers may call the gateway."""

from __future__ import annotations

import re
from typing import Annotated

import msgspec

from adapters.settings import Duration, SettingError

_ORIGIN = re.compile(
    r"https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?|https?://\[[0-9A-Fa-f:]+\](:[0-9]{1,5})?"
)


class CorsSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Without it no page of another origin can read an answer."""

    origins: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    """Such as https://app.example.com, as browsers write them; "*": pages from anywhere."""
    max_age: Duration = 600.0
    """How long a browser may remember what it was told."""

    def __post_init__(self) -> None:
        for index, origin in enumerate(self.origins):
            if origin != "*" and _ORIGIN.fullmatch(origin) is None:
                message = f"{origin!r} is no origin; write https://HOST or https://HOST:PORT"
                raise SettingError((f"origins[{index}]",), message)
