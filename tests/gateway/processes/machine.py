"""Several whole gateways that serve together, in one process: what each says reaches the parent's
affairs at once, and their fake clock is one."""

from __future__ import annotations

import contextlib
import random
from collections.abc import AsyncIterator
from pathlib import Path

from adapters.fake import Fake
from adapters.types import Capabilities
from gateway.app import build_gateway, running
from gateway.clock import FakeClock
from gateway.policy.model import BackendSpec
from gateway.processes.affairs import Affairs
from gateway.processes.messages import Affair, ToChild, ToParent
from gateway.processes.parts import PartsOfAll
from gateway.storage.memory import MemorySharedStore
from gateway.storage.sqlite.keys import SqliteKeys
from gateway.storage.sqlite.ledger import SqliteLedger
from gateway.warm.kept import FileKept
from tests.gateway.assembled import PATIENCE_S, AssembledGateway, read

ANY = Capabilities()


class Member:
    """One process, as those beside it know it."""

    def __init__(self, number: int, machine: Machine) -> None:
        self.number = number
        self.parts = PartsOfAll(self.say, machine.count, "machine", machine.clock)
        self.hangs = False
        """Nothing that it says arrives, and it hears nothing."""
        self.gateway: AssembledGateway
        self._machine = machine

    def say(self, message: ToParent) -> None:
        if not self.hangs:
            assert isinstance(message, Affair)
            self._machine.affairs.hear(self.number, message)

    def hear(self, message: ToChild) -> None:
        if not self.hangs and (hear := self.parts.hears.get(type(message))) is not None:
            hear(message)

    @property
    def leads(self) -> bool:
        return self.parts.lease.until > self._machine.clock.monotonic()


class Machine:
    """``count`` of them over one ledger and one shared store. The fakes of a backend count together
    what a platform would see."""

    def __init__(
        self,
        folder: Path,
        clock: FakeClock,
        text: str,
        count: int,
        capabilities: Capabilities = ANY,
    ) -> None:
        """``capabilities``: of the backends."""
        self._capabilities = capabilities
        self.count = count
        self.clock = clock
        self.members: dict[int, Member] = {}
        self.affairs = Affairs(count, self._numbers, self._numbers, self._tell, clock)
        self._folder = folder
        self._text = text
        self._shared = MemorySharedStore(clock)

    @property
    def leader(self) -> Member:
        [leader] = (one for one in self.members.values() if one.leads)
        return leader

    @property
    def followers(self) -> list[Member]:
        return [one for one in self.members.values() if not one.leads]

    def fakes(self, backend: str) -> list[Fake]:
        return [one.gateway.fake(backend) for one in self.members.values()]

    @contextlib.asynccontextmanager
    async def member(self, number: int) -> AsyncIterator[Member]:
        """It serves from now on. At the end it is told so, as all are at SIGTERM."""
        member = Member(number, self)
        gateway = build_gateway(
            read(self._text),
            clock=self.clock,
            keys=SqliteKeys(self._folder / "keys.db", clock=self.clock),
            ledger=SqliteLedger(
                self._folder / "ledger.db", clock=self.clock, write_timeout_s=PATIENCE_S
            ),
            shared=self._shared,
            make_backend=self._make,
            load=lambda: read(self._text),
            random_source=random.Random(number),
            kept_workers=FileKept(self._folder / "kept-workers.json"),
            bound=member.parts.bound,
            use=member.parts.use,
        )
        self.members[number] = member
        for told in self.affairs.begin(number):
            member.hear(told)
        async with running(gateway, member.parts.lease) as inner:
            member.gateway = AssembledGateway(inner, self.clock, calls=1_000 * number)
            inner.run_forever(member.parts.lease.keep_asking())
            yield member
        self.members.pop(number)
        self.affairs.end(number)

    def _make(self, spec: BackendSpec) -> Fake:
        fake = Fake(spec.name, spec.settings, self.clock)
        fake.capabilities = self._capabilities
        return fake

    def _numbers(self) -> list[int]:
        return [*self.members]

    def _tell(self, number: int, message: ToChild) -> None:
        self.members[number].hear(message)


@contextlib.asynccontextmanager
async def machine_of(
    count: int,
    folder: Path,
    clock: FakeClock,
    text: str,
    capabilities: Capabilities = ANY,
) -> AsyncIterator[Machine]:
    """All serve; at the end all end, the leader last."""
    machine = Machine(folder, clock, text, count, capabilities)
    async with contextlib.AsyncExitStack() as stack:
        for number in range(1, count + 1):
            await stack.enter_async_context(machine.member(number))
        await clock.advance(1.0)
        yield machine
        machine.affairs.stop()
