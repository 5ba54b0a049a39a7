"""All processes, as one of them knows them: what it tells of itself, and hears of all."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from gateway.api.admin.backends import backend_rows
from gateway.processes.counted import counted, rendered
from gateway.processes.messages import (
    About,
    AllTold,
    Asks,
    Called,
    Drained,
    TellOf,
    Tells,
    ToParent,
    Tried,
)
from gateway.processes.trials_of_all import TrialsOfAll
from gateway.service import Gateway
from gateway.storage.base import StorageUnavailable
from gateway.together import Readiness, ToldTrial

WITHIN_S = 3.0
"""The parent answers sooner, whichever process is silent."""
EVERY_S = 5
"""What a process has counted since it last told of it is lost when it is killed."""
_readiness = msgspec.msgpack.Decoder(Readiness).decode
_rows = msgspec.msgpack.Decoder(list[dict[str, Any]]).decode


class AllProcesses:
    """Those that serve together (``Together``); ``gateway`` is that of one of them. The parent is
    told by ``say``; ``receive`` is given its answers."""

    def __init__(self, gateway: Gateway, say: Callable[[ToParent], None]) -> None:
        self._gateway = gateway
        self._say = say
        self._asked: dict[About, _Question] = {}
        self.trials_of_all = TrialsOfAll(gateway, say)

    def tell(self, asked: TellOf) -> None:
        """How it is here."""
        self._say(Tells(asked.round, asked.about, self._report(asked.about)))

    def receive(self, told: AllTold) -> None:
        """The answer to all that asked before the last one."""
        self._asked[told.about].answer(told)

    async def keep_telling(self) -> None:
        """How many calls have come, for routes by it; and now and then all that is counted here,
        which is known then when this process is gone."""
        for second in itertools.count(1):
            await self._gateway.clock.sleep(1.0)
            self._tell_of_calls()
            if second % EVERY_S == 0:
                self._tell_of_counts()

    def tell_the_rest(self) -> None:
        """The same, before the end."""
        self._tell_of_calls()
        self._tell_of_counts()

    def hear_of_calls(self, called: Called) -> None:
        """Calls have come to another process."""
        counts = {(model, hour): calls for model, hour, calls in called.counts}
        self._gateway.dispatcher.volume.add_others(counts)

    def _tell_of_counts(self) -> None:
        self.tell(TellOf(0, "metrics"))
        if self.trials_of_all.report():
            self.tell(TellOf(0, "trial"))

    def _tell_of_calls(self) -> None:
        new = self._gateway.dispatcher.volume.take_new()
        if new:
            self._say(Called(tuple((*key, calls) for key, calls in new.items())))

    def tell_of_drained(self, backend: str, draining: bool) -> None:
        """As ``Together`` has it."""
        self._say(Drained(backend, draining))

    def tell_of_trial(self, trial: ToldTrial) -> None:
        """The same."""
        self._say(Tried(trial))

    async def trials(self) -> list[bytes]:
        """The same."""
        return [report for _, report in (await self._all("trial")).reports if report]

    async def metrics(self) -> bytes:
        """The same."""
        return rendered((await self._all("metrics")).reports)

    async def readiness(self) -> Readiness:
        """The same."""
        told = await self._all("readiness")
        found = [_readiness(report) for _, report in told.reports]
        silent = [f"process {number} does not answer" for number in told.silent]
        return Readiness(
            _once(text for one in found for text in one.missing),
            _once([*(text for one in found for text in one.warnings), *silent]),
        )

    async def backends(self) -> dict[int, list[dict[str, Any]]]:
        """The same."""
        return {number: _rows(report) for number, report in (await self._all("backends")).reports}

    def _report(self, about: About) -> bytes:
        if about == "metrics":
            return counted(self._gateway.metrics.registry)
        if about == "trial":
            return self.trials_of_all.report()
        told = self._gateway.readiness() if about == "readiness" else backend_rows(self._gateway)
        return msgspec.msgpack.encode(told)

    async def _all(self, about: About) -> AllTold:
        question = self._asked.get(about)
        if question is None:
            question = self._asked[about] = _Question(lambda: self._say(Asks(about)))
        try:
            async with asyncio.timeout(WITHIN_S):
                return await question.ask()
        except TimeoutError:
            raise StorageUnavailable("the parent process does not answer") from None


class _Question:
    """One goes to the parent at a time; who asks meanwhile waits for the next answer."""

    def __init__(self, send: Callable[[], None]) -> None:
        self._send = send
        self._waiting: list[asyncio.Future[AllTold]] = []
        self._later: list[asyncio.Future[AllTold]] = []

    def ask(self) -> asyncio.Future[AllTold]:
        future: asyncio.Future[AllTold] = asyncio.get_running_loop().create_future()
        if self._waiting:
            self._later.append(future)
        else:
            self._waiting.append(future)
            self._send()
        return future

    def answer(self, told: AllTold) -> None:
        for future in self._waiting:
            if not future.done():
                future.set_result(told)
        self._waiting, self._later = self._later, []
        if self._waiting:
            self._send()


def _once(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(texts))
