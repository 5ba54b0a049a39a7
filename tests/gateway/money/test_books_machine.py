"""Random sequences of calls, crashes, reloads and silences over both stores and the settler that
keeps them together: what limits count is what the rows say, and no limit is passed."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from hypothesis.stateful import run_state_machine_as_test as run_machine

from gateway.clock import FakeClock
from gateway.metrics import Metrics
from gateway.money.settling.settlement import Settler
from gateway.storage.base import Admitted, Claim, Counted, LedgerRow, StorageUnavailable
from tests.gateway.assembled import PATIENCE_S
from tests.gateway.failing_stores import FailingLedger, FailingShared, Trouble

FIRST_LIMIT = 1_000
TTL_S = 100.0


class Call(msgspec.Struct):
    """One that holds something."""

    claims: tuple[Claim, ...]
    row: LedgerRow
    opened: bool
    expires_at: float


class Books(RuleBasedStateMachine):
    """A gateway's two stores; ``crash`` forgets all but the ledger's file."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        self.clock = FakeClock()
        self.limit = FIRST_LIMIT
        self.most = FIRST_LIMIT
        """The largest limit that there was."""
        self.late = 0
        """Nano-dollars of calls that ended after their holds had expired."""
        self.calls: dict[str, Call] = {}
        self.count = 0
        self.begin()

    def begin(self) -> None:
        """A process starts."""
        self.shared_trouble, self.ledger_trouble = Trouble(), Trouble()
        self.shared = FailingShared(self.clock).told(self.shared_trouble)
        path = Path(self.folder.name) / "ledger.db"

        async def opened() -> FailingLedger:
            ledger = FailingLedger(path, clock=self.clock, write_timeout_s=PATIENCE_S)
            return ledger.told(self.ledger_trouble)

        self.ledger = self.run(opened())
        self.settler = Settler(
            shared=self.shared, ledger=self.ledger, clock=self.clock, metrics=Metrics()
        )

    def run(self, work: Any) -> Any:
        return self.runner.run(work)

    def spent(self) -> int:
        return sum(one.nano_usd for one in self.run(self.ledger.spent_since(0.0)))

    def claim(self, take: int) -> Claim:
        return Claim("user:alice", "nano_usd", "month", self.limit, take)

    # --- what can happen --------------------------------------------------------------------------

    @rule(hold=st.integers(1, 600), paid=st.booleans())
    def hold(self, hold: int, paid: bool) -> None:
        self.count += 1
        id = f"r{self.count}"
        claims = (self.claim(hold), Claim("user:alice", "concurrent", "", 100, 1))
        admitted = self.run(self.shared.admit(id, claims, TTL_S))
        if not isinstance(admitted, Admitted):
            return
        row = LedgerRow(
            id=id, started_at=self.clock.time(), key_id="k", user="alice", model="m", task="chat",
            backend="b", hold_nano=hold, claims=claims,
        )  # fmt: skip
        call = self.calls[id] = Call(claims, row, False, self.clock.time() + TTL_S)
        if paid:
            self.run(self.ledger.open(row))
            call.opened = True

    @precondition(lambda self: self.calls)
    @rule(
        data=st.data(),
        share=st.floats(0.0, 1.0),
        silent=st.sampled_from(["", "shared", "ledger"]),
        when=st.sampled_from(["before", "after"]),
    )
    def settle(self, data: st.DataObject, share: float, silent: str, when: Any) -> None:
        """It used a part of what it held; one of the stores may say nothing."""
        call = self.calls.pop(data.draw(st.sampled_from(sorted(self.calls))))
        cost = round(call.row.hold_nano * share)
        self.late += 0 if call.expires_at > self.clock.time() else cost
        ended = msgspec.structs.replace(
            call.row, outcome="success", ended_at=self.clock.time(), cost_nano=cost, claims=()
        )
        if silent:
            trouble = self.shared_trouble if silent == "shared" else self.ledger_trouble
            trouble.fails(when, "settle")
        try:
            self.run(self.settler.settle((ended,), call.claims, opened=call.opened))
        except StorageUnavailable:
            assert not call.opened
            assert silent == "ledger"
        finally:
            self.shared_trouble.ends()
            self.ledger_trouble.ends()
        self.run(self.settler.retry())
        assert self.settler.waiting == 0

    @precondition(lambda self: self.calls)
    @rule(data=st.data())
    def is_not_asked(self, data: st.DataObject) -> None:
        id = data.draw(st.sampled_from(sorted(self.calls)))
        if not self.calls[id].opened:
            del self.calls[id]
            self.run(self.shared.release(id))

    @rule(seconds=st.sampled_from([1.0, 60.0, 3_600.0]))
    def time_passes(self, seconds: float) -> None:
        """Holds may expire; their calls may be settled all the same."""
        self.clock.move(seconds)

    @rule(limit=st.sampled_from([200, 1_000, 3_000]))
    def reload(self, limit: int) -> None:
        """Another limit; what calls on their way hold is held in it."""
        self.limit, self.most = limit, max(self.most, limit)
        for id, call in self.calls.items():
            if call.expires_at > self.clock.time():
                first = msgspec.structs.replace(call.claims[0], limit=limit)
                call.claims = (first, *call.claims[1:])
                self.run(self.shared.reinstate(id, call.claims, 0.0))

    @rule()
    def crash(self) -> None:
        """What was open is settled at what it held, and what was not has bought nothing."""
        self.run(self.ledger.aclose())
        self.begin()
        self.run(self.shared.restore([Counted("user:alice", "nano_usd", "month", self.spent())]))
        opened = [call for call in self.calls.values() if call.opened]
        assert self.run(self.settler.recover()) == len(opened)
        now = self.clock.time()
        self.late += sum(one.row.hold_nano for one in opened if one.expires_at <= now)
        self.calls.clear()

    def teardown(self) -> None:
        self.run(self.ledger.aclose())
        self.runner.close()
        self.folder.cleanup()

    # --- what always holds ------------------------------------------------------------------------

    @invariant()
    def limits_count_what_the_rows_say_and_what_is_held(self) -> None:
        [money, places] = self.run(
            self.shared.statuses((self.huge(), Claim("user:alice", "concurrent", "", 100, 1)))
        )
        now = self.clock.time()
        alive = [call for call in self.calls.values() if call.expires_at > now]
        held = sum(call.row.hold_nano for call in alive)
        assert 10**9 - money.remaining == self.spent() + held
        assert 100 - places.remaining == len(alive)

    @invariant()
    def no_limit_is_passed(self) -> None:
        """But by calls that ended after their holds had expired."""
        now = self.clock.time()
        held = sum(one.row.hold_nano for one in self.calls.values() if one.expires_at > now)
        assert self.spent() + held <= self.most + self.late

    def huge(self) -> Claim:
        return Claim("user:alice", "nano_usd", "month", 10**9, 0)


def test_the_books_agree_after_whatever_happens() -> None:
    run_machine(
        Books,
        settings=settings(
            max_examples=12,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
