"""Conversations on a virtual clock, between a backend with few slots and a dear one with many: what
it costs to stay, to go where a call is cheapest as if nothing were kept, and to price what a change
loses.

The conversations are made up, with the means of a trace of coding agents that Microsoft has
published (DynamoLLM's successors, https://github.com/Azure/AzurePublicDataset): 3.95 turns of 7.83
calls, 67,900 prompt tokens a call of which 85.7 % are cached, and 528 tokens of answer.
"""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Iterator
from typing import Literal

import msgspec

from adapters.types import Capabilities, TokenParts, Usage
from gateway.backends.learned import Learned
from gateway.money.pricing import charge
from gateway.policy.model import BackendCommon, Route
from gateway.policy.sections.price import Price
from gateway.routing.forecast import BackendLoad
from gateway.routing.router import Candidate, RoutingRequest, decide

Way = Literal["stay", "spill", "priced"]
"""Always where the conversation began; always where the call alone is cheapest; by the router."""

TURNS, CALLS, PROMPT, ANSWER = 3.95, 7.83, 67_900.0, 528.0
REUSED = 0.886
"""Of a prompt, after the first call: with the first ones, of which nothing is, 85.7 % of all."""
_THINKS_S, _TOOL_S = 60.0, 2.0
_READS_S, _WRITES_S = 26.0 / PROMPT, 0.02
"""Seconds a token: 26 s to the first token of such a prompt that nobody has kept."""
_BYTES = 4


class AgentCall(msgspec.Struct, frozen=True):
    """One call of a conversation."""

    conversation: int
    after_s: float
    """Since the answer to the call before it; of the first, since the beginning."""
    prompt: int
    reused: int
    """Tokens of the prompt that the call before it had read or written."""
    answer: int


class Market(msgspec.Struct, frozen=True, kw_only=True):
    """A backend with ``slots`` at one price, and one without a bound at another."""

    home: Price
    away: Price
    slots: int = 6
    slo: float = 20.0


class ConversationsCost(msgspec.Struct, frozen=True):
    """What all calls came to."""

    way: Way
    calls: int
    nano: int
    late: int
    """Calls whose first token came later than the SLO after they could have been read."""
    moved: int
    """Calls that went to another backend than the one before them."""


def made_up(conversations: int, every_s: float, seed: int) -> list[list[AgentCall]]:
    """So many, one in ``every_s`` seconds on the average."""
    draw, at, found = random.Random(seed), 0.0, []
    for number in range(conversations):
        at += draw.expovariate(1 / every_s)
        found.append(list(_turns(number, at, draw)))
    return found


def _turns(number: int, at: float, draw: random.Random) -> Iterator[AgentCall]:
    size, after_s, first = draw.lognormvariate(-0.18, 0.6) * PROMPT, at, True
    for _ in range(_geometric(TURNS, draw)):
        for _ in range(_geometric(CALLS, draw)):
            prompt = max(200, round(size * draw.uniform(0.8, 1.2)))
            share = 0.0 if first else draw.betavariate(8.86, 1.14)
            answer = max(1, round(draw.expovariate(1 / ANSWER)))
            yield AgentCall(number, after_s, prompt, round(prompt * share), answer)
            first, after_s = False, draw.expovariate(1 / _TOOL_S)
        after_s = draw.expovariate(1 / _THINKS_S)


def _geometric(mean: float, draw: random.Random) -> int:
    count = 1
    while draw.random() > 1 / mean:
        count += 1
    return count


class _Backend:
    """What happens at one of the two, and what its calls have taught."""

    def __init__(self, name: str, price: Price, slots: int | None) -> None:
        self.name = name
        self.price = price
        self.slots = slots
        self.busy = 0
        self.line: deque[tuple[float, AgentCall]] = deque()
        self.learned = Learned(BackendCommon(expect=20.0))

    def candidate(self, turn: AgentCall, now: float, *, in_session: bool) -> Candidate:
        load = BackendLoad(self.busy + len(self.line), self.slots, 0, None, 0.0)
        found = Candidate(
            self.name,
            self.price,
            _CHAT,
            None,
            load,
            self.learned.run_time("m"),
            None,
            600.0,
        )
        if not in_session:
            return found
        kept = self.learned.kept("m", turn.conversation, now, turn.prompt)
        return msgspec.structs.replace(found, kept=kept)


_CHAT = Capabilities(tasks=frozenset(("chat",)))
_ROUTE = Route(name="all", use=())


class _Run:
    """One way through all conversations."""

    def __init__(self, market: Market, way: Way, conversations: list[list[AgentCall]]) -> None:
        self._way = way
        self._slo = market.slo
        self._backends = {
            "home": _Backend("home", market.home, market.slots),
            "away": _Backend("away", market.away, None),
        }
        self._rest = {turns[0].conversation: deque(turns[1:]) for turns in conversations}
        self._at: dict[int, str] = {}
        """Where a conversation was last."""
        self._events: list[tuple[float, int, str, AgentCall]] = []
        self._number = 0
        for turns in conversations:
            self._push(turns[0].after_s, "", turns[0])
        self._nano = self._late = self._moved = self._calls = 0

    def through(self) -> ConversationsCost:
        while self._events:
            now, _, ended_at, turn = heapq.heappop(self._events)
            if ended_at:
                self._ended(now, self._backends[ended_at], turn)
            else:
                self._asked(now, turn)
        return ConversationsCost(self._way, self._calls, self._nano, self._late, self._moved)

    def _push(self, at: float, ended_at: str, turn: AgentCall) -> None:
        self._number += 1
        heapq.heappush(self._events, (at, self._number, ended_at, turn))

    def _asked(self, now: float, turn: AgentCall) -> None:
        backend = self._backends[self._chosen(now, turn)]
        if backend.slots is None or backend.busy < backend.slots:
            self._begin(now, now, backend, turn)
        else:
            backend.line.append((now, turn))

    def _chosen(self, now: float, turn: AgentCall) -> str:
        last, priced = self._at.get(turn.conversation), self._way == "priced"
        if self._way == "stay" and last is not None:
            return last
        question = RoutingRequest(
            "chat", False, turn.prompt * _BYTES, turn.answer, in_session=priced
        )
        found = [one.candidate(turn, now, in_session=priced) for one in self._backends.values()]
        return decide(question, found, _ROUTE, self._slo, lambda: 0.0).quotes[0].backend

    def _begin(self, asked_at: float, now: float, backend: _Backend, turn: AgentCall) -> None:
        last = self._at.get(turn.conversation)
        kept = backend.learned.conversations.tokens(("m", turn.conversation), now)
        cached = min(turn.reused, kept)
        fresh = turn.prompt - cached
        runs_s = fresh * _READS_S + turn.answer * _WRITES_S
        usage = Usage(
            input_tokens=turn.prompt,
            output_tokens=turn.answer,
            exec_s=runs_s,
            parts=TokenParts(cached=cached),
        )
        self._calls += 1
        self._moved += last is not None and last != backend.name
        self._late += now - asked_at + (turn.reused - cached) * _READS_S > self._slo
        self._nano += charge(backend.price, usage)
        self._at[turn.conversation] = backend.name
        backend.busy += 1
        backend.learned.observe_run("m", runs_s)
        backend.learned.observe_turn("m", turn.conversation, usage, now)
        self._push(now + runs_s, backend.name, turn)

    def _ended(self, now: float, backend: _Backend, turn: AgentCall) -> None:
        backend.busy -= 1
        if backend.line:
            asked_at, waiting = backend.line.popleft()
            self._begin(asked_at, now, backend, waiting)
        rest = self._rest[turn.conversation]
        if rest:
            following = rest.popleft()
            self._push(now + following.after_s, "", following)


def through(market: Market, way: Way, conversations: list[list[AgentCall]]) -> ConversationsCost:
    """All of them, one way."""
    return _Run(market, way, conversations).through()
