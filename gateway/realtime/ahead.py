"""What a conversation may cost next is held before it can cost it.

Each response reads again all that was said. So before anything of its caller's is passed on, and
when a response has ended, what was used so far is held together with the dearest responses that may
follow: those that its caller has asked for, and one more where sound may cause one by itself. Where
there is no room for that, nothing more is passed on.
"""

from __future__ import annotations

import asyncio

import msgspec

from adapters.realtime.caller_events import CallerEvent
from adapters.types import Usage
from gateway.calls.state import CallState
from gateway.calls.stream import SettledConversation
from gateway.money.pricing import charge, output_cost
from gateway.policy.sections.price import Price
from gateway.realtime.asked import AskedResponses
from gateway.realtime.backend_events import BackendEvent
from gateway.realtime.said import Said
from gateway.types import Unit

_STEP = 4000
"""Tokens of input that are held more at once: a store is not asked for each word."""
_MILLION = 1_000_000


class Ahead:
    """The holds of one conversation; ``at_most``: tokens that a response may be."""

    def __init__(self, state: CallState, stream: SettledConversation, at_most: int) -> None:
        quote = stream.attempt.quote
        in_force, estimate = quote.in_force, quote.estimate
        self._stream = stream
        self._dearest = Price(per_call=0) if in_force is None else in_force.dearest
        self._is_limited = state.pays_for_output
        self._at_most = at_most
        self._settled = Usage(input_tokens=0, output_tokens=0)
        """At the end of the last response."""
        self._context = 0
        """Tokens that it read and wrote."""
        self._said = Said()
        self._asked = AskedResponses()
        self._covered = at_most
        """Tokens that the response under way may be before more is held."""
        self._asking = asyncio.Lock()
        for_time = round(estimate.per_second * quote.hold_s)
        counted = state.counted
        self._held: dict[Unit, int] = {
            "nano_usd": max(estimate.hold - for_time, 0),
            "output_tokens": counted.get("output_tokens", 0),
            "tokens": counted.get("tokens", 0),
        }

    def said(self, event: CallerEvent) -> None:
        """Its caller says this."""
        self._said.add(event)
        self._asked.said(event, self._said.all)

    def heard(self, event: BackendEvent) -> bool:
        """Its backend says this. Whether a response has ended by it: what is used holds then all
        that it read and wrote."""
        if event.type == "response.done":
            self._respond()
            return True
        if event.type == "error":
            self._asked.refused(event.refusal)
        self._said.heard(event.type)
        return False

    def _respond(self) -> None:
        used, before = self._stream.used, self._settled
        made = self._under_way()
        read = (used.input_tokens or 0) - (before.input_tokens or 0)
        self._settled = used
        asked = self._asked.ended()
        if self._asked.read_apart:  # so what it read says nothing of what the next one may
            read = max(read, self._context + self._said.take_all())
        else:
            self._said.take(self._said.heard_speech if asked is None else asked.said)
        self._context = read + made

    @property
    def runs_over(self) -> bool:
        """The response under way is longer than what is held covers."""
        return self._is_limited and self._under_way() >= self._covered

    async def cover(self) -> bool | None:
        """Whether all is held that may come before this is asked again. False where there is no
        room for it; None where the call is stopped."""
        if not self._is_limited:
            return True
        async with self._asking:
            return await self._cover()

    async def _cover(self) -> bool | None:
        used = self._stream.used
        self._covered = self._under_way() + self._at_most
        wanted = self._wanted(used, 0)
        if all(amount <= self._held[unit] for unit, amount in wanted.items()):
            return True
        held = await self._hold(self._wanted(used, _STEP))
        return await self._hold(wanted) if held is False else held

    def _under_way(self) -> int:
        return (self._stream.used.output_tokens or 0) - (self._settled.output_tokens or 0)

    def _wanted(self, used: Usage, step: int) -> dict[Unit, int]:
        given, made = used.input_tokens or 0, used.output_tokens or 0
        price, count = self._dearest, self._may_follow()
        write = count * self._at_most
        read = count * (self._context + self._said.unread + step + write - self._at_most)
        reading = -(-(price.per_million_input or 0) * read // _MILLION)
        return {
            "nano_usd": charge(price, _tokens_alone(used)) + reading + output_cost(price, write),
            "output_tokens": made + write,
            "tokens": given + made + read + write,
        }

    def _may_follow(self) -> int:
        """Responses, with one that is under way."""
        begun = max(len(self._asked), int(self._under_way() > 0))
        return max(begun + self._said.has_sound, 1)

    async def _hold(self, wanted: dict[Unit, int]) -> bool | None:
        more = {unit: max(amount - self._held[unit], 0) for unit, amount in wanted.items()}
        held = await self._stream.hold_more(more)
        if held:
            for unit, amount in more.items():
                self._held[unit] += amount
        return held


def _tokens_alone(used: Usage) -> Usage:
    """Time is held for by whoever watches it."""
    return msgspec.structs.replace(used, exec_s=None, gpu_s=None, parts=None)
