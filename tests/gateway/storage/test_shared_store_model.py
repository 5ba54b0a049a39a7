"""Random sequences of calls against each store and a model that is too simple to be wrong.

The model keeps every hold and every settlement as a list and sums them when it is asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from hypothesis.stateful import run_state_machine_as_test as run_machine

from gateway.clock import FakeClock
from gateway.storage.base import Admitted, Claim, SharedStore, StorageUnavailable
from gateway.storage.claims import CallClaims, template_of
from gateway.storage.memory import MemorySharedStore
from gateway.storage.redis.store import RedisSharedStore
from gateway.types import MICRO, Principal, Unit
from gateway.windows import bounds, read_window
from tests.gateway.storage.served.wired import wired
from tests.redis_server import RedisServer

LIMITS: dict[tuple[str, Unit, str], int] = {
    ("user:a", "nano_usd", "minute"): 100,
    ("user:b", "nano_usd", "minute"): 60,
    ("gateway", "nano_usd", "hour"): 400,
    ("user:a", "gpu_us", "day"): 90,
    ("user:a", "concurrent", ""): 4,
    ("gateway", "concurrent", ""): 6,
    ("user:b", "nano_usd", "90s"): 120,
    ("user:b", "calls", "90s"): 5,
    ("user:a", "tokens", "day Europe/Berlin"): 150,
    ("gateway", "tokens", "2m"): 250,
    ("gateway", "calls", "week from sat Asia/Kolkata"): 25,
}
TEMPLATES = {
    user: template_of(
        Principal(key_id="", user=user),
        [
            Claim(scope, unit, window, limit, int(unit == "concurrent"))
            for (scope, unit, window), limit in LIMITS.items()
            if scope in (user, "gateway")
        ],
        shown=(),
    )
    for user in ("user:a", "user:b")
}
USERS = st.sampled_from(["user:a", "user:b"])
AMOUNTS = st.integers(min_value=0, max_value=70)

Parts = list[tuple[int, int]]
"""(Microseconds since the epoch, amount) of each."""


class Held:
    def __init__(self, claims: Sequence[Claim], now: float, ttl: float) -> None:
        self.claims = claims
        self.admitted_us = round(now * MICRO)
        self.expires = now + ttl
        self.more: list[tuple[Claim, int, int]] = []

    def surpluses(self, claim: Claim) -> list[tuple[int, int]]:
        """(instant, amount)."""
        return [(self.admitted_us, claim.surplus)]

    def amounts(self, claim: Claim) -> list[tuple[int, int]]:
        """The same of what was held at first, and of each time that it was more."""
        more = [(at, amount) for of, at, amount in self.more if of == claim]
        return [(self.admitted_us, claim.take), *more]

    def used(self, claim: Claim, amount: int) -> list[tuple[int, int]]:
        """The same of what was used: in each window no more than is held there, but the last."""
        if claim.unit == "concurrent" or read_window(claim.window).rolling:
            return [(self.admitted_us, amount)]
        windows: dict[tuple[int, int], int] = {}
        for at, held in self.amounts(claim):
            window = bounds(claim.window, at)
            windows[window] = windows.get(window, 0) + held
        parts, (last, _) = [], list(windows.items())[-1]
        for window, held in windows.items():
            part = amount if window == last else min(amount, held)
            parts.append((window[0], part))
            amount -= part
        return parts


class StoreMachine(RuleBasedStateMachine):
    """Each rule does one thing to the store and says what must have come of it."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.runner = asyncio.Runner()
        self.store = self.open_store()
        self.held: dict[str, Held] = {}
        self.ended: dict[str, Held] = {}
        self.spent: list[tuple[tuple[str, Unit, str], int, int]] = []  # key, instant, amount
        self.count = 0

    def open_store(self) -> SharedStore:
        return MemorySharedStore(self.clock)

    def run(self, coroutine: Any) -> Any:
        return self.runner.run(coroutine)

    def teardown(self) -> None:
        for name in list(self.alive()):
            self.run(self.store.settle(name, self.held[name].claims, {}))
            del self.held[name]
        self.nothing_leaks()
        self.run(self.store.aclose())
        self.runner.close()

    # --- the model ------------------------------------------------------------------------------

    def alive(self) -> dict[str, Held]:
        now = self.clock.time()
        return {name: held for name, held in self.held.items() if held.expires > now}

    def holds(
        self, key: tuple[str, Unit, str], parts: Callable[[Held, Claim], Parts]
    ) -> list[tuple[int, int]]:
        """(instant, amount) of those that are alive."""
        return [
            part
            for held in self.alive().values()
            for claim in held.claims
            if (claim.scope, claim.unit, claim.window) == key
            for part in parts(held, claim)
        ]

    def held_now(self, key: tuple[str, Unit, str], parts: Callable[[Held, Claim], Parts]) -> int:
        """What is told of what is held: 0 of what is held in no amounts."""
        holds = self.holds(key, parts)
        if key[1] == "concurrent":
            return 0
        if read_window(key[2]).rolling:
            return sum(amount for _, amount in holds)
        window = bounds(key[2], round(self.clock.time() * MICRO))
        return sum(amount for at, amount in holds if bounds(key[2], at) == window)

    def used(self, key: tuple[str, Unit, str], instant_us: int | None = None) -> int:
        now = round(self.clock.time() * MICRO) if instant_us is None else instant_us
        holds = self.holds(key, Held.amounts)
        if key[1] == "concurrent":
            return len(holds)
        spent = [(at, amount) for where, at, amount in self.spent if where == key]
        if read_window(key[2]).rolling:
            return sum(amount for _, amount in holds) + self.rolling(key[2], spent)
        window = bounds(key[2], now)
        return sum(amount for at, amount in [*holds, *spent] if bounds(key[2], at) == window)

    def rolling(self, text: str, spent: list[tuple[int, int]]) -> int:
        """Steps of a sixtieth count whole while any instant of theirs is in the window."""
        length = read_window(text).length_us
        step = length // 60
        begun = round(self.clock.time() * MICRO) - length
        return sum(amount for at, amount in spent if (at // step + 1) * step > begun)

    def spend(self, held: Held, amounts: dict[Unit, int]) -> None:
        for claim in held.claims:
            if claim.unit != "concurrent":
                key = (claim.scope, claim.unit, claim.window)
                parts = held.used(claim, amounts.get(claim.unit, 0))
                self.spent += [(key, at, amount) for at, amount in parts]

    # --- what can happen ------------------------------------------------------------------------

    @rule(
        user=USERS,
        nano=AMOUNTS,
        gpu=AMOUNTS,
        tokens=AMOUNTS,
        ttl=st.sampled_from([5.0, 40.0, 200.0]),
        surplus=st.sampled_from([0.0, 0.5, 0.9]),
        one_by_one=st.booleans(),
    )
    def admit(
        self,
        user: str,
        nano: int,
        gpu: int,
        tokens: int,
        ttl: float,
        surplus: float,
        one_by_one: bool,
    ) -> None:
        """Claims that are told one by one count as those of a caller whose limits are known. What
        will probably come back gives no call room."""
        rest: dict[Unit, int] = {"tokens": tokens, "calls": 1}
        back = round(nano * surplus)
        claims: Sequence[Claim] = CallClaims(TEMPLATES[user], nano, gpu, rest, back)
        if one_by_one:
            claims = tuple(claims)
        fits = all(self.used((c.scope, c.unit, c.window)) + c.take <= c.limit for c in claims)
        self.count += 1
        name = f"call-{self.count}"
        answer = self.run(self.store.admit(name, claims, ttl))
        assert isinstance(answer, Admitted) == fits
        if fits:
            self.held[name] = Held(claims, self.clock.time(), ttl)

    @precondition(lambda self: self.held)
    @rule(data=st.data(), more=AMOUNTS, unit=st.sampled_from(["nano_usd", "gpu_us", "tokens"]))
    def extend(self, data: st.DataObject, more: int, unit: Unit) -> None:
        name = data.draw(st.sampled_from(sorted(self.held)))
        held = self.held[name]
        if name not in self.alive():
            with pytest.raises(StorageUnavailable):
                self.run(self.store.extend(name, unit, more))
            return
        places = [(c, self.place(held, c, more)) for c in held.claims if c.unit == unit]
        fits = all(self.used((c.scope, c.unit, c.window), at) + more <= c.limit for c, at in places)
        assert self.run(self.store.extend(name, unit, more)) == fits
        if fits:
            held.more += [(claim, at, more) for claim, at in places]

    def place(self, held: Held, claim: Claim, more: int) -> int:
        """An instant of the window in which more is held: the last one's, where that has room."""
        last, now = held.amounts(claim)[-1][0], round(self.clock.time() * MICRO)
        if read_window(claim.window).rolling or bounds(claim.window, last)[1] > now:
            return last
        has_room = self.used((claim.scope, claim.unit, claim.window), last) + more <= claim.limit
        return last if has_room else now

    @precondition(lambda self: self.held)
    @rule(data=st.data(), nano=AMOUNTS, gpu=AMOUNTS, tokens=AMOUNTS)
    def settle(self, data: st.DataObject, nano: int, gpu: int, tokens: int) -> None:
        name = data.draw(st.sampled_from(sorted(self.held)))
        amounts: dict[Unit, int] = {"nano_usd": nano, "gpu_us": gpu, "tokens": tokens, "calls": 1}
        held = self.held[name]
        if name not in self.alive():
            held.admitted_us, held.more = round(self.clock.time() * MICRO), []
        del self.held[name]
        self.spend(held, amounts)
        self.run(self.store.settle(name, held.claims, amounts))
        self.ended[name] = held

    @precondition(lambda self: self.ended)
    @rule(data=st.data(), nano=AMOUNTS)
    def settle_again(self, data: st.DataObject, nano: int) -> None:
        name = data.draw(st.sampled_from(sorted(self.ended)))
        self.run(self.store.settle(name, self.ended[name].claims, {"nano_usd": nano}))

    @precondition(lambda self: self.held)
    @rule(data=st.data(), ttl=st.sampled_from([5.0, 200.0]))
    def reinstate(self, data: st.DataObject, ttl: float) -> None:
        """Nothing is held that was not, but for one that has expired."""
        name = data.draw(st.sampled_from(sorted(self.held)))
        held, now = self.held[name], self.clock.time()
        if name not in self.alive():
            held.admitted_us, held.more, held.expires = round(now * MICRO), [], 0.0
        held.expires = max(held.expires, now + ttl)
        self.run(self.store.reinstate(name, held.claims, ttl))

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.held)))
        self.run(self.store.release(name))
        del self.held[name]

    @rule(seconds=st.sampled_from([0.5, 5.0, 61.0, 95.0, 3601.0, 50_000.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock.move(seconds)

    # --- what always holds ----------------------------------------------------------------------

    @invariant()
    def nothing_leaks(self) -> None:
        claims = [Claim(*key, limit, 0) for key, limit in LIMITS.items()]
        statuses = self.run(self.store.statuses(claims))
        expected = [max(0, limit - self.used(key)) for key, limit in LIMITS.items()]
        assert [status.remaining for status in statuses] == expected
        for status, key in zip(statuses, LIMITS, strict=True):
            assert status.held == self.held_now(key, Held.amounts)
            assert status.surplus == self.held_now(key, Held.surpluses)


_SETTINGS = settings(
    max_examples=40,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


def test_memory_behaves_as_the_model_does() -> None:
    run_machine(StoreMachine, settings=_SETTINGS)


def test_memory_of_another_process_behaves_as_the_model_does() -> None:
    class ServedMachine(StoreMachine):
        def open_store(self) -> SharedStore:
            return wired(MemorySharedStore(self.clock), self.clock)[0]

    run_machine(ServedMachine, settings=settings(_SETTINGS, max_examples=25))


def test_redis_behaves_as_the_model_does(redis_server: RedisServer) -> None:
    class RedisMachine(StoreMachine):
        def open_store(self) -> SharedStore:
            redis_server.command("FLUSHALL")
            return RedisSharedStore(
                redis_server.url, 5.0, now_us=lambda: round(self.clock.time() * MICRO)
            )

    run_machine(RedisMachine, settings=settings(_SETTINGS, max_examples=25))
