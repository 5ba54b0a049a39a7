"""One seed: what is drawn from it, and how it is played to its end."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
from collections import Counter
from collections.abc import Coroutine
from typing import Any

import msgspec

from gateway.storage.base import LedgerRow
from gateway.storage.history import HEDGED, CallHistory
from gateway.types import NANO
from tests.simulation import faults, policies
from tests.simulation.callers import Asked, Caller, Connection, asked
from tests.simulation.faults import Fault
from tests.simulation.gateways import GatewayProcess
from tests.simulation.jobs.askers import JobDay
from tests.simulation.jobs.depot import Depot
from tests.simulation.ledger_server import LedgerServer
from tests.simulation.loop import LoopClock, SimulatedLoop, bury
from tests.simulation.network import Server
from tests.simulation.platforms import BugOfAdapter, Platform
from tests.simulation.shared_server import SharedServer

NOON = 1_767_225_600.0 + 86_400 * 0.5
"""Of a day in UTC."""
EPOCH = NOON - 20.0
"""So that some calls begin in the hour that ends then, and end in the next."""
LASTS_S = 40.0
_STARTS_AGAIN_S = 2.0
"""A process that is gone is started again after this."""
_AT_REST_S = 120.0
"""Longer than any hold: the longest wait in line, the longest run, and a minute."""
_HAVE_JOBS = 1 / 4
"""The share of the days."""
_FOR_LONG = 1 / 4
"""And of these, that of the days whose machine by the hour is waited for to be booked."""
_BOOKED_S = 1000.0
"""By then each gateway has booked the hour that ended at noon."""

log = logging.getLogger("spillgate")


class Change(msgspec.Struct):
    """From when on, in seconds since 1970, a policy is in force in every gateway."""

    knobs: policies.Knobs
    at: float = float("inf")


class World:
    """All that a seed has in it. ``notes`` is what happened, in words."""

    def __init__(self, seed: int, *, verbose: bool = False) -> None:
        self.seed = seed
        self.draw = random.Random(f"world {seed}")
        self.loop = SimulatedLoop(random.Random(f"order {seed}"))
        self.clock = LoopClock(self.loop, EPOCH)
        self.notes: list[str] = []
        self.blamed: list[str] = []
        """What must not have happened, whatever else did."""
        self.verbose = verbose
        self.changes = [Change(self._first_policy(), 0.0)]
        is_shared = self.draw.random() < 0.6
        self.ledger = self._ledger(is_server=is_shared and self.draw.random() < 0.6)
        self.shared = SharedServer(self._server(), self.clock) if is_shared else None
        self.jobs = self._jobs()
        self.platforms = self._platforms()
        self.count = self.draw.randrange(1, 4) if is_shared else 1
        self.calls = self._calls()
        self.faults = faults.drawn(
            self.draw,
            LASTS_S,
            shared=is_shared,
            ledger_server=self.ledger.kind == "server",
        )
        self.callers: list[Caller] = []
        self.unserved = 0
        self.fills: list[float] = []
        """When a gateway filled a store that it shares, in seconds since 1970."""
        self.gateways: list[GatewayProcess] = []
        """Those that there were, in the order of their starts."""
        self._ending = self._is_over = False

    def _first_policy(self) -> policies.Knobs:
        knobs = policies.paid_by(policies.drawn(self.draw), random.Random(f"paid by {self.seed}"))
        knobs = policies.hedged(knobs, random.Random(f"hedged {self.seed}"))
        return policies.limited(knobs, random.Random(f"limited {self.seed}"))

    def _jobs(self) -> JobDay | None:
        draw = random.Random(f"jobs {self.seed}")
        if draw.random() >= _HAVE_JOBS:
            return None
        knobs = self.changes[0].knobs
        idle = knobs.idle if draw.random() < _FOR_LONG else ""
        self.changes[0].knobs = msgspec.structs.replace(knobs, jobs=True, idle=idle)
        self.ledger.has_jobs = True
        return JobDay(self, draw, LASTS_S)

    def _server(self) -> Server:
        return Server(self.loop, random.Random(self.draw.random()))

    def _ledger(self, *, is_server: bool) -> LedgerServer:
        return LedgerServer(self._server(), self.clock, "server" if is_server else "file")

    def _platforms(self) -> dict[str, Platform]:
        luck = self.draw.choice((1.0, 0.9, 0.6))
        names = ("home", "burst", "tokens", "fee", "free")
        found = {name: Platform(name, random.Random(self.draw.random()), luck) for name in names}
        if self.jobs is not None:
            found["depot"] = Depot(random.Random(f"depot {self.seed}"), luck)
        return found

    def _calls(self) -> list[Asked]:
        count = self.draw.choice((8, 20, 40))
        calls = [asked(number, LASTS_S, self.draw) for number in range(count)]
        return sorted(calls, key=lambda call: call.at_s)

    # --- what is told -----------------------------------------------------------------------------

    def note(self, text: str) -> None:
        """Something happened."""
        line = f"{self.loop.time() - 1000.0:9.4f} {text}"
        self.notes.append(line)
        if self.verbose:
            print(line)

    def blame(self, text: str) -> None:
        """Something happened that never may."""
        if self._is_over:
            return
        self.note(f"!! {text}")
        self.blamed.append(text)

    @property
    def knobs(self) -> policies.Knobs:
        """What the policy's file says."""
        return self.changes[-1].knobs

    def figures(self) -> dict[str, int]:
        """What the seed had in it."""
        rows = self.ledger.settled.values()
        outcomes = Counter(row.outcome for row in rows if row.kind == "call")
        seen = Counter(caller.seen for caller in self.callers)
        kills = sum(fault.what == "kill" for fault in self.faults)
        return {
            "calls": len(self.callers),
            "kills": kills,
            "faults": len(self.faults) - kills,
            "starts": len(self.gateways),
            **({} if self.jobs is None else self.jobs.figures()),
            "hours": sum(row.reason == "committed" and row.hold_nano > 0 for row in rows),
            "hedges": sum(
                one.hedge or one.failure == HEDGED
                for row in rows
                for one in (row.history or CallHistory()).attempts
            ),
            "cold starts of nobody": sum(row.reason == "cold_start" for row in rows),
            **{f"rows {outcome}": count for outcome, count in outcomes.items()},
            **{f"seen {name}": count for name, count in seen.items()},
        }

    @property
    def digest(self) -> str:
        """Of all that happened: the same for the same seed."""
        return hashlib.sha256("\n".join(self.notes).encode()).hexdigest()[:16]

    # --- the play ---------------------------------------------------------------------------------

    def play(self) -> None:
        """From the first start to the rest after the last call."""
        asyncio.set_event_loop(None)
        listening = _Listening(self)
        log.addHandler(listening)
        propagates, log.propagate = log.propagate, False
        try:
            self.loop.run_until_complete(self._play())
        finally:
            log.removeHandler(listening)
            log.propagate = propagates

    def dispose(self) -> None:
        """Lets go of the dead, when all has been looked at."""
        self._is_over = True
        for one in self.gateways:
            bury(one.process)
        self.loop.close()

    async def _play(self) -> None:
        for number in range(self.count):
            self._start(number)
        events: list[Fault | Asked] = [*self.faults, *self.calls]
        begins = self.loop.time()
        asking = list[asyncio.Task[None]]()
        if self.jobs is not None:
            asking += self.jobs.begin()
        for event in sorted(events, key=lambda one: one.at_s):
            await asyncio.sleep(begins + event.at_s - self.loop.time())
            if isinstance(event, Fault):
                self._goes_wrong(event)
            elif (caller := self._caller(event)) is not None:
                asking.append(asyncio.create_task(caller))
        await asyncio.sleep(begins + LASTS_S - self.loop.time())
        self._heal()
        if asking:
            await asyncio.wait(asking)
        if self.jobs is not None:
            await self.jobs.rest()
        self.note("the last caller has gone")
        await asyncio.sleep(_BOOKED_S if self.knobs.idle else _AT_REST_S)
        self._note_the_books()

    async def end(self) -> None:
        """All gateways end in good order."""
        self._ending = True
        for one in self.gateways:
            one.end()
        mains = [one.main for one in self.gateways if one.process.is_alive]
        if mains:
            await asyncio.wait(mains)

    def _start(self, number: int) -> None:
        lives = sum(one.process.name.startswith(f"gateway-{number}.") for one in self.gateways)
        one = GatewayProcess(self, f"gateway-{number}.{lives}")
        self.gateways.append(one)
        self._watch(number, one)

    def _watch(self, number: int, one: GatewayProcess) -> None:
        """As systemd does."""

        def look() -> None:
            if self._ending:
                return
            if one.process.is_alive:
                self.loop.call_later(1.0, look)
            else:
                self._start(number)

        self.loop.call_later(_STARTS_AGAIN_S, look)

    def serving(self) -> list[GatewayProcess]:
        return [one for one in self.gateways if one.serves]

    async def _asks(self, call: Asked, by: GatewayProcess) -> None:
        caller = Caller(call, Connection(call.takes_s), self.loop.time())
        self.callers.append(caller)
        await caller.ask(by)
        self.note(f"{call.id} sees {caller.seen} {caller.connection.status}")

    def _caller(self, call: Asked) -> Coroutine[Any, Any, None] | None:
        serving = self.serving()
        if not serving:
            self.unserved += 1
            return None
        return self._asks(call, self.draw.choice(serving))

    # --- what goes wrong --------------------------------------------------------------------------

    def _goes_wrong(self, fault: Fault) -> None:
        self.note(f"{fault.what} for {fault.lasts_s:.2f} s")
        kind, _, what = fault.what.partition(" ")
        if kind == "shared":
            assert self.shared is not None
            if what == "forgets":
                self.shared.forgets()
            else:
                self._ill(self.shared.server, what, fault.lasts_s)
        elif kind == "ledger":
            self._ill_ledger(what, fault.lasts_s)
        else:
            self._to_a_process(fault)

    def _ill(self, server: Server, what: str, lasts_s: float) -> None:
        if what == "stalls":
            server.stalls_until = self.loop.time() + lasts_s
            return
        if what == "down":
            server.is_down = True
        elif what == "loses":
            server.loses = 0.3
        else:
            server.slow_s = 0.2
        server.later(lasts_s, self._well, server)

    def _well(self, server: Server) -> None:
        if server is self.ledger.server:
            self.ledger.heal()
        else:
            server.heal()

    def _ill_ledger(self, what: str, lasts_s: float) -> None:
        if what == "refuses":
            self.ledger.refuses = True
            self.ledger.server.later(lasts_s, self._well, self.ledger.server)
        else:
            self._ill(self.ledger.server, what, lasts_s)

    def _to_a_process(self, fault: Fault) -> None:
        serving = self.serving()
        if fault.what == "reload":
            self.changes.append(Change(policies.changed(self.knobs, self.draw)))
            for one in serving:
                one.process.begins(self.loop, one.reload())
            self.look_at_changes()
        elif serving:
            one = serving[int(fault.which * len(serving))]
            if fault.what == "cut off":
                self.ledger.server.cut_off.add(one.process.name)
                lasts_s = fault.lasts_s
                self.ledger.server.later(
                    lasts_s, self.ledger.server.cut_off.discard, one.process.name
                )
            elif fault.what == "kill":
                one.kill()
            else:
                one.end()

    def look_at_changes(self) -> None:
        """A change is complete when nobody alive has an earlier policy."""
        oldest = min((one.has for one in self.gateways if one.process.is_alive), default=10**9)
        for change in self.changes[: oldest + 1]:
            change.at = min(change.at, self.clock.time())

    def _heal(self) -> None:
        """From now on nothing goes wrong any more."""
        self.ledger.heal()
        if self.shared is not None:
            self.shared.server.heal()
        self.note("nothing is wrong any more")

    def _note_the_books(self) -> None:
        for row in self.ledger.settled.values():
            if row.kind in ("call", "attempt"):
                usd = row.cost_nano / NANO
                self.note(f"{_name_of(row)} {row.outcome} at {row.backend or 'none'} for {usd:.6f}")


def _name_of(row: LedgerRow) -> str:
    """As it is in every run: the ids of jobs are drawn by the gateways."""
    return "a job" if row.id.startswith("job_") else row.id


class _Listening(logging.Handler):
    """A task that failed with nobody to tell is a fault, however well it was logged."""

    def __init__(self, world: World) -> None:
        super().__init__(logging.WARNING)
        self._world = world

    def emit(self, record: logging.LogRecord) -> None:
        if self._world.verbose:
            self._world.note(f"   log: {record.getMessage()}")
        if record.exc_info is not None and not isinstance(record.exc_info[1], BugOfAdapter):
            self._world.blame(f"{record.getMessage()}: {record.exc_info[1]!r}")
