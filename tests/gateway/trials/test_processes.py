"""A trial in several processes ends in all of them, whichever is asked, and no other trial does."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.clock import FakeClock
from gateway.processes.affairs import Affairs
from gateway.processes.all_processes import AllProcesses
from gateway.processes.messages import ToChild, Tried
from gateway.together import ToldTrial
from gateway.trials.trial import TrialPolicy
from tests.gateway.assembled import POLICY, AssembledGateway, assembled, read

SPILLING = "routes: [{name: away, use: [burst]}]\n"
OTHER = POLICY.replace("slo: 2s", "slo: 3s")


class Machine:
    """Two processes and their parent: messages wait until ``deliver``."""

    def __init__(self, gateways: list[AssembledGateway], clock: FakeClock) -> None:
        self.gateways = gateways
        self._under_way: deque[tuple[int, ToChild]] = deque()
        self.affairs = Affairs(
            len(gateways),
            lambda: range(len(gateways)),
            lambda: range(len(gateways)),
            lambda process, told: self._under_way.append((process, told)),
            clock,
        )
        self.processes = [self._process(number) for number in range(len(gateways))]

    def _process(self, number: int) -> AllProcesses:
        def say(message: object) -> None:
            assert isinstance(message, Tried)
            self.affairs.hear(number, message)

        inner = self.gateways[number].inner
        inner.together = process = AllProcesses(inner, say)
        return process

    async def deliver(self) -> None:
        while self._under_way:
            process, told = self._under_way.popleft()
            assert isinstance(told, Tried)
            await self.processes[process].trials_of_all.hear(told)

    async def begin(self, since: float, text: str = POLICY) -> None:
        """Of the policy beside this text."""
        trial = ToldTrial(text + SPILLING, read(text).version, 50.0, since)
        self.affairs.hear(0, Tried(trial))
        await self.deliver()

    def tried(self) -> list[float | None]:
        """In each process: since when."""
        each = [gateway.inner.active for gateway in self.gateways]
        return [one.since if isinstance(one, TrialPolicy) else None for one in each]


@contextlib.asynccontextmanager
async def machine(folder: Path, clock: FakeClock, *texts: str) -> AsyncIterator[Machine]:
    async with contextlib.AsyncExitStack() as stack:
        gateways = []
        for number, text in enumerate(texts):
            (own := folder / str(number)).mkdir()
            gateways.append(await stack.enter_async_context(assembled(own, clock, text)))
        made = Machine(gateways, clock)
        try:
            yield made
        finally:
            for gateway in gateways:
                gateway.inner.together = None


async def test_a_process_in_which_it_could_not_begin_ends_it_in_the_others(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with machine(tmp_path, clock, POLICY, OTHER) as both:
        await both.begin(100.0)
        assert both.tried() == [100.0, None]
        without = both.gateways[1]
        async with without.client(without.key("root", admin=True)) as admin:
            told = await admin.delete("/admin/policy/shadow")
            await both.deliver()

        assert (told.status_code, told.json()) == (200, {"candidate": None})
        assert both.tried() == [None, None]
        assert not [one for one in both.affairs.begin(2) if isinstance(one, Tried)]


ENDS = [
    pytest.param(0.0, None, id="of whatever is tried"),
    pytest.param(200.0, None, id="of this trial"),
    pytest.param(100.0, 200.0, id="of the trial before"),
]


@pytest.mark.parametrize(("ended", "left"), ENDS)
async def test_an_end_ends_its_own_trial_alone(
    ended: float, left: float | None, tmp_path: Path, clock: FakeClock
) -> None:
    async with machine(tmp_path, clock, POLICY, POLICY) as both:
        await both.begin(100.0)
        await both.begin(200.0)
        both.affairs.hear(1, Tried(ToldTrial(since=ended)))
        await both.deliver()
        assert both.tried() == [left, left]
        assert len([one for one in both.affairs.begin(2) if isinstance(one, Tried)]) == bool(left)


async def test_a_process_that_reloads_late_ends_no_trial_that_began_meanwhile(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with machine(tmp_path, clock, POLICY, POLICY) as both:
        await both.begin(100.0)
        first, late = (process.trials_of_all for process in both.processes)
        async with late.watched():
            async with first.watched():
                await both.gateways[0].inner.apply(read(OTHER))
            await both.begin(200.0, OTHER)
            assert both.tried()[0] == 200.0
            await both.gateways[1].inner.apply(read(OTHER))
        await both.deliver()

        assert both.tried() == [200.0, 200.0]


async def test_a_reload_ends_what_was_tried_beside_the_policy_before(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with machine(tmp_path, clock, POLICY, POLICY) as both:
        await both.begin(100.0)
        for gateway, process in zip(both.gateways, both.processes, strict=True):
            async with process.trials_of_all.watched():
                await gateway.inner.apply(read(POLICY))
        await both.deliver()

        assert both.tried() == [None, None]
