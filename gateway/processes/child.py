"""The parent, as a serving process knows it: keeps the shared store, says what is to be done."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Coroutine
from typing import Any, cast

from gateway.clock import Clock
from gateway.processes.all_processes import AllProcesses
from gateway.processes.messages import (
    AllTold,
    Called,
    Drained,
    Gone,
    Reload,
    Reloaded,
    Retire,
    Serving,
    TellOf,
    ToChild,
    ToParent,
    Tried,
    decode_to_child,
)
from gateway.processes.parts import PartsOfAll
from gateway.service import Gateway
from gateway.storage.base import StorageUnavailable
from gateway.storage.served.messages import Answer
from gateway.storage.served.store import ServedSharedStore
from local_runtime.protocol.wire import FramedConnection

log = logging.getLogger("spillgate")

_AGAIN_S = 1.0
TIMEOUT_S = 1.0
"""For the store's answers, until the policy is read."""
READY_WITHIN_S = 10.0
_LOOK_S = 0.02
PARENT_GONE = "the parent process is gone"


class ParentLink:
    """The connection to the parent by the inherited descriptor ``descriptor``.

    ``store`` is the shared store that the parent keeps, ``parts`` is what this process has of what
    all have together. ``retire`` is called when others serve in this process's place, ``end`` when
    the parent is gone.
    """

    def __init__(self, descriptor: int, of: int, machine: str, clock: Clock) -> None:
        """``of``: how many processes serve; ``machine``: a name of all of them."""
        self._socket = socket.socket(fileno=descriptor)
        self._clock = clock
        self.parts = PartsOfAll(self.say, of, machine, clock)
        self._connection = FramedConnection[ToChild](
            decode=decode_to_child, receive=self._receive, lost=self._lose
        )
        self.store = ServedSharedStore(self.say, clock, TIMEOUT_S)
        self.retire: Callable[[], None] = _nothing
        self.end: Callable[[], None] = _nothing
        self._gateway: Gateway | None = None
        self._all: AllProcesses | None = None
        self._hears: dict[type, Callable[[Any], None]] = {
            Gone: lambda gone: self._run(self._inherit(gone.processes)),
            Reload: lambda reload: self._run(self._reload(reload.problems)),
            Retire: lambda _: self._retire(),
            Drained: self._drain,
            Tried: lambda tried: self._run(self._try_out(tried)),
            **self.parts.hears,
        }

    async def connect(self, gateway: Gateway) -> None:
        """From now on both may speak. Once, before the gateway starts."""
        self._gateway = gateway
        self._all = gateway.together = AllProcesses(gateway, self.say)
        self.store.past = gateway.settler.count_past
        self._hears |= {
            TellOf: self._all.tell,
            AllTold: self._all.receive,
            Called: self._all.hear_of_calls,
        }
        gateway.run_forever(self._all.keep_telling())
        loop = asyncio.get_running_loop()
        await loop.create_unix_connection(lambda: self._connection, sock=self._socket)
        gateway.run_forever(self.parts.lease.keep_asking())

    def say(self, message: ToParent) -> None:
        """Leaves at the end of this turn of the loop."""
        self._connection.send(message)

    def serving(self, policy: str) -> None:
        """Connections are taken from now on."""
        self.say(Serving(policy))

    async def until_ready(self) -> None:
        """Waits, within bounds, until this process knows as well as those beside it which backends
        are ready, lest it send calls elsewhere for want of knowing."""
        gateway = self._gateway
        assert gateway is not None
        end = self._clock.monotonic() + READY_WITHIN_S
        while self._clock.monotonic() < end:
            starting = [
                one for one in gateway.active.backends.values() if one.standing.starts is not None
            ]
            unknown = [one for one in starting if not one.is_warm]
            if not unknown and not gateway.not_ready():
                return
            await self._clock.sleep(_LOOK_S)

    async def aclose(self) -> None:
        """Says what there is left to say, after the gateway has ended."""
        if self._all is not None:
            self._all.tell_the_rest()
        await asyncio.sleep(0)  # it leaves at the end of this turn of the loop

    def _receive(self, message: ToChild) -> None:
        hear = self._hears.get(type(message))
        if hear is None:
            self.store.receive(cast("Answer", message))
        else:
            hear(message)

    def _retire(self) -> None:
        self.parts.lease.retire()
        self.retire()

    def _drain(self, drained: Drained) -> None:
        """Another process was asked to, or was before this one came."""
        assert self._gateway is not None
        backend = self._gateway.active.backends.get(drained.backend)
        if backend is not None:
            backend.draining = drained.draining

    def _lose(self, error: Exception | None) -> None:
        self.store.lose(PARENT_GONE)
        if self._gateway is not None:
            log.error("%s: calls under way may end, and no more are taken", PARENT_GONE)
        self.end()

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        assert self._gateway is not None
        self._gateway.run_forever(work)

    async def _inherit(self, processes: tuple[int, ...]) -> None:
        """Settles what they left open; then what they held is nobody's, but for what jobs hold that
        go on: that is this process's."""
        assert self._gateway is not None
        jobs = self._gateway.jobs
        while True:
            try:
                settled = await self._gateway.settler.recover()
                if jobs is not None:
                    await jobs.worker.reinstate()
                self.store.tidied(processes)
            except StorageUnavailable as unavailable:
                log.error("what other processes left open waits: %s", unavailable)
                await self._clock.sleep(_AGAIN_S)
                continue
            if settled:
                log.warning("%d calls that a process left open are settled", settled)
            return

    async def _try_out(self, tried: Tried) -> None:
        assert self._all is not None
        await self._all.trials_of_all.hear(tried)

    async def _reload(self, problems: tuple[str, ...]) -> None:
        assert self._gateway is not None
        assert self._all is not None
        async with self._all.trials_of_all.watched():
            await self._gateway.reload(problems)
        self.say(Reloaded(self._gateway.active.policy.version))


def _nothing() -> None:
    """Nobody serves yet."""
