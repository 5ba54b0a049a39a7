"""The parent of the serving processes: starts them, starts anew what dies, replaces them one by
one, and ends them."""

from __future__ import annotations

import asyncio
import logging
import secrets
import signal
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import msgspec

from gateway.clock import Clock
from gateway.policies.changes import By, PolicyChanges
from gateway.policies.last_files import LastFiles
from gateway.policy.model import Policy
from gateway.policy.syntax.problems import Mark, PolicyError, problem_at
from gateway.processes.affairs import Affairs
from gateway.processes.hosts import Hosts
from gateway.processes.loading import PolicyLoader
from gateway.processes.messages import Gone, ToChild
from gateway.processes.snapshots import PolicySnapshots
from gateway.processes.spawned import ServingProcess
from gateway.processes.told import Told
from gateway.processes.turns import ConnectionCounts, places_for
from gateway.storage.policies.base import PolicyStore
from gateway.storage.served.server import StoreServer
from gateway.tasks import BackgroundTasks

log = logging.getLogger("spillgate")

SERVES_WITHIN_S = 120.0
"""The longest that a process may take from its start until it takes connections."""
KILL_AFTER_S = 3.0
"""What was told twice to end, and has not by then, is killed."""
LOOK_EVERY_S = 0.25
"""For whoever has asked a process for another policy waits until this one has put it in force."""
_LONGEST_PAUSE_S = 30.0
_REMEMBERED_S = 60.0


class Restarts:
    """How long to wait before a process that died is started again: not at all for one, twice as
    long for each more within a minute. Pure: time is passed in."""

    def __init__(self) -> None:
        self._deaths: deque[float] = deque()

    def died(self, now: float) -> float:
        """Seconds to wait."""
        while self._deaths and self._deaths[0] <= now - _REMEMBERED_S:
            self._deaths.popleft()
        self._deaths.append(now)
        others = len(self._deaths) - 1
        return min(_LONGEST_PAUSE_S, 0.25 * 2**others) if others else 0.0


class Shared(msgspec.Struct, frozen=True):
    """What all serving processes have of the parent."""

    store: StoreServer
    hosts: Hosts
    snapshots: PolicySnapshots
    loader: PolicyLoader
    listeners: tuple[int, ...]
    """Descriptors of the listening sockets."""
    counts: int
    """The descriptor of the memory in which they count their connections."""
    inherited: tuple[int, ...]
    """Descriptors that they hold open, and have no other use for."""
    policies: PolicyStore
    last_files: LastFiles
    acted: Callable[[str, str, str, Sequence[str]], Awaitable[None]]
    """Records an act, by which signal, the policy in force then, and why nothing was changed."""


class Parent:
    """``count`` processes, each by the command line that ``command`` makes of what it is told.
    ``ending`` is called once, when they are told to end."""

    def __init__(
        self,
        count: int,
        command: Callable[[Told], Sequence[str]],
        shared: Shared,
        clock: Clock,
        ending: Callable[[], None],
    ) -> None:
        self._count = count
        self._command = command
        self._shared = shared
        self._clock = clock
        self._ending = ending
        self._processes: list[ServingProcess] = []
        self._started = 0
        self._places = places_for(count)
        self._counts = ConnectionCounts(shared.counts, self._places)
        self._machine = secrets.token_hex(6)
        self._folders: dict[str, str] = {}
        self._gone: list[int] = []
        """Processes that have ended, of which nobody has been told, or that hold something yet."""
        self._affairs = Affairs(count, self._numbers, self._answering, self._tell, clock)
        self._changing = asyncio.Lock()
        self.policies = PolicyChanges(
            shared.policies, in_force=self._in_force, put=self._put, read=self._read
        )
        self.policies.last_files, self.policies.look_every_s = shared.last_files, LOOK_EVERY_S
        self._lacking = asyncio.Event()
        self._restarts = Restarts()
        self._pause_s = 0.0
        self._signals = 0
        self._told_to_end = asyncio.Event()
        self._tasks = BackgroundTasks()

    # --- its life ---------------------------------------------------------------------------------

    async def run(self, announce: Callable[[], None]) -> int:
        """The exit status, once all have ended. ``announce`` is called when the first serves."""
        self._listen_to_signals()
        try:
            if not await self._begin():
                return 0 if self._signals else 2
            announce()
            async with self._changing:
                await self._fill(waits=False)
            self._tasks.run(self._keep_count())
            self._tasks.run(self.policies.follow(self._clock))
            await self._told_to_end.wait()
        finally:
            await self._end()
        return 130 if self._signals > 1 else 0

    async def _begin(self) -> bool:
        """One alone first: it makes what is missing, and settles what an earlier start left."""
        shared = self._shared
        if (policy := await self.policies.begin(self._in_force())) is not self._in_force():
            policy, copy = shared.snapshots.write(policy.document, shared.loader.anew)
            self._serve_from(policy, copy)
        self._folders = await shared.hosts.adopt(policy)
        return await self._add(waits=False) is not None

    async def _end(self) -> None:
        self._signal(signal.SIGTERM)
        while self._processes:
            await asyncio.wait([process.ended for process in self._processes])
            await asyncio.sleep(0)  # each is taken off the list by who waits for it
        await self._tasks.cancel()
        await self._shared.hosts.aclose()

    def _listen_to_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        loop.add_signal_handler(signal.SIGHUP, lambda: self._tasks.run(self._reload()))
        loop.add_signal_handler(signal.SIGUSR2, lambda: self._tasks.run(self._restart()))

    def _stop(self) -> None:
        self._signals += 1
        self._told_to_end.set()
        if self._signals == 1:
            self._affairs.stop()
            self._ending()
            self._signal(signal.SIGTERM)
        else:
            self._signal(signal.SIGINT)
            self._clock.call_later(KILL_AFTER_S, lambda: self._signal(signal.SIGKILL))

    def _signal(self, number: signal.Signals) -> None:
        for process in self._processes:
            process.signal(number)

    # --- processes --------------------------------------------------------------------------------

    async def _add(self, *, waits: bool) -> ServingProcess | None:
        """Starts another; None where it does not serve. ``waits``: until its backends are ready."""
        self._started += 1
        place = self._free_place()
        process = ServingProcess(self._started, place, self._shared.store, self._affairs.hear)

        def command(connection: int) -> Sequence[str]:
            return self._command(
                Told(
                    number=process.number,
                    parent=connection,
                    listeners=self._shared.listeners,
                    of=self._count,
                    folders=self._folders,
                    waits=waits,
                    machine=self._machine,
                    counts=self._shared.counts,
                    places=self._places,
                    place=place,
                )
            )

        shared = self._shared
        inherited = (*shared.listeners, shared.counts, *shared.inherited)
        await process.start(command, inherited)
        self._processes.append(process)
        self._tasks.run(self._watch(process))
        for told in self._affairs.begin(process.number):
            process.say(told)
        try:
            async with asyncio.timeout(SERVES_WITHIN_S):
                serves = await asyncio.shield(process.serves)
        except TimeoutError:
            log.error("process %d does not serve in time", process.pid)
            serves = False
            process.retired = True
            process.signal(signal.SIGKILL)
        if serves:
            self._tell_of_the_gone()
        return process if serves else None

    def _free_place(self) -> int:
        """The last one is that of all who find none."""
        taken = {one.place for one in self._processes}
        last = self._places - 1
        return next((one for one in range(last) if one not in taken), last)

    async def _watch(self, process: ServingProcess) -> None:
        status = await process.wait()
        self._processes.remove(process)
        self._affairs.end(process.number)
        self._counts.leave(process.place)
        self._gone.append(process.number)
        self._tell_of_the_gone()
        if process.retired or self._told_to_end.is_set():
            return
        self._pause_s = self._restarts.died(self._clock.monotonic())
        log.error(
            "the serving process %d has ended with status %d; another is started in %.2g s",
            process.pid,
            status,
            self._pause_s,
        )
        self._lacking.set()

    def _tell_of_the_gone(self) -> None:
        """One that serves settles what they left open."""
        heir = next((one for one in self._processes if _serves(one)), None)
        if heir is not None and self._gone:
            heir.say(Gone(tuple(self._gone)))
            # Should the heir die over it, the next one is told again.
            self._gone = [one for one in self._gone if self._shared.store.holds_of(one)]

    def _numbers(self) -> list[int]:
        return [one.number for one in self._processes]

    def _answering(self) -> list[int]:
        """Those that can be asked: also such as end with their calls."""
        return [one.number for one in self._processes if _answers(one)]

    def _tell(self, number: int, message: ToChild) -> None:
        for process in self._processes:
            if process.number == number:
                process.say(message)

    async def _keep_count(self) -> None:
        while True:
            await self._lacking.wait()
            self._lacking.clear()
            await self._clock.sleep(self._pause_s)
            async with self._changing:
                await self._fill(waits=True)

    async def _fill(self, *, waits: bool) -> None:
        lacking = self._count - sum(not one.retired for one in self._processes)
        await asyncio.gather(*(self._add(waits=waits) for _ in range(lacking)))

    # --- changes ----------------------------------------------------------------------------------

    def _in_force(self) -> Policy:
        policy = self._shared.loader.in_force
        assert policy is not None
        return policy

    def _read(self, text: str) -> Policy:
        """Raises PolicyError."""
        return self._shared.snapshots.write(text, self._shared.loader.again)[0]

    def _serve_from(self, policy: Policy, copy: Path) -> Path | None:
        """For processes that start or read the policy again; the copy before."""
        self._shared.loader.in_force = policy
        return self._shared.snapshots.put_in_force(copy)

    async def _put(self, policy: Policy) -> None:
        """In all processes, or in none. Raises PolicyError."""
        shared, earlier = self._shared, self._in_force()
        async with self._changing:
            again, copy = await asyncio.to_thread(
                shared.snapshots.write, policy.document, shared.loader.again
            )
            before = self._serve_from(again, copy)
            versions = await self._read_again(())
            if versions <= {policy.version}:
                return
            log.error("the processes serve %s, and not %s", versions, policy.version)
            assert before is not None
            self._serve_from(earlier, before)
            await self._read_again(())
        why = "a process could not put it in force: its log says why"
        raise PolicyError([problem_at(Mark(policy.version), "", why)])

    async def _read_again(self, problems: tuple[str, ...]) -> set[str]:
        """The versions that are served then."""
        serving = [one for one in self._processes if _serves(one)]
        await asyncio.gather(*(one.reload(problems) for one in serving))
        return {one.policy for one in serving if _serves(one)}

    async def _reload(self) -> None:
        """All serve the same policy afterwards: the new one, or the old."""
        shared = self._shared
        problems: tuple[str, ...] = ()
        try:
            policy, _ = await asyncio.to_thread(shared.snapshots.take, shared.loader.again)
            await self.policies.reload(policy, By("signal:SIGHUP"))
        except PolicyError as error:
            problems = _said(error)
            async with self._changing:
                await self._read_again(problems)
        await self._acted("policy.reload", "SIGHUP", problems)

    async def _acted(self, act: str, signal: str, problems: Sequence[str]) -> None:
        policy = self._shared.loader.in_force
        await self._shared.acted(act, signal, "" if policy is None else policy.version, problems)

    async def _restart(self) -> None:
        """Starts one and retires one, until all are new; where a new one does not serve, the old
        ones stay."""
        async with self._changing:
            shared = self._shared
            try:
                files, copy = await asyncio.to_thread(shared.snapshots.take, shared.loader.anew)
                policy = files
                if self.policies.stays_over(files):
                    text = self._in_force().document
                    policy, copy = shared.snapshots.write(text, shared.loader.anew)
                folders = await shared.hosts.adopt(policy)
            except PolicyError as error:
                await self._acted("processes.replace", "SIGUSR2", _said(error))
                return
            except OSError as error:
                log.error("no rolling restart: %s", error)
                await self._acted("processes.replace", "SIGUSR2", (str(error),))
                return
            before = shared.snapshots.put_in_force(copy), shared.loader.in_force, self._folders
            shared.loader.in_force, self._folders = policy, folders
            replaced = await self._replace_all()
            if not replaced:
                copy_before, policy_before, self._folders = before
                assert copy_before is not None
                assert policy_before is not None
                shared.snapshots.put_in_force(copy_before)
                shared.loader.in_force = policy_before
            else:
                await self.policies.taken(files, By("signal:SIGUSR2"))
            why = () if replaced else ("a new process does not serve",)
            await self._acted("processes.replace", "SIGUSR2", why)
            self._tasks.run(self._end_unused_hosts())

    async def _replace_all(self) -> bool:
        """False where the first new one does not serve: nothing has changed then."""
        old = [one for one in self._processes if not one.retired]
        for index, one in enumerate(old):
            if await self._add(waits=True) is None:
                log.error("a new process does not serve: %d of the old ones stay", len(old) - index)
                return index > 0
            one.retire()
        log.info("rolling restart: %d new processes serve", len(old))
        return True

    async def _end_unused_hosts(self) -> None:
        """When the processes that use them are gone."""
        leaving = [one.ended for one in self._processes if one.retired]
        if leaving:
            await asyncio.wait(leaving)
        async with self._changing:
            policy = self._shared.loader.in_force
            assert policy is not None
            await self._shared.hosts.keep_only(policy)


def _serves(process: ServingProcess) -> bool:
    return _answers(process) and not process.retired


def _answers(process: ServingProcess) -> bool:
    return process.serves.done() and process.serves.result() and not process.ended.done()


def _said(error: PolicyError) -> tuple[str, ...]:
    """Its problems, which are logged."""
    problems = tuple(str(problem) for problem in error.problems)
    for problem in problems:
        log.error("the policy was not changed: %s", problem)
    return problems
