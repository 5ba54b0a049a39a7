"""Backends of the caller's own region go before others. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from gateway.routing.forecast import Delay


class _Seen(Protocol):
    @property
    def region(self) -> str | None: ...


class _Quoted(Protocol):
    @property
    def delay(self) -> Delay: ...
    @property
    def seen(self) -> _Seen | None: ...


Quoted = TypeVar("Quoted", bound=_Quoted)


def near_first(quotes: Sequence[Quoted], region: str, limit_s: float) -> list[Quoted]:
    """In their order, but those first that run in the region and would have the call wait no longer
    than so many seconds."""
    near = [one for one in quotes if is_in(one, region) and one.delay.seconds <= limit_s]
    return near + [one for one in quotes if not any(one is first for first in near)]


def is_in(quote: _Quoted, region: str) -> bool:
    """Whether its backend runs in the region."""
    return quote.seen is not None and quote.seen.region == region
