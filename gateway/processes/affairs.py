"""What concerns all serving processes, at their parent: each tells it, and it tells the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from gateway.clock import Clock
from gateway.processes.bounds import CallBounds
from gateway.processes.leaders import LeaderLease
from gateway.processes.messages import (
    Affair,
    Asks,
    AsksToLead,
    Called,
    Drained,
    GivesBack,
    Kept,
    Leads,
    LeadsNoMore,
    TailsBooked,
    Tells,
    ToChild,
    Tried,
    Uses,
    Wants,
)
from gateway.processes.rounds import Rounds
from gateway.processes.uses import UsesOfAll

Numbers = Callable[[], Sequence[int]]


class Affairs:
    """``count``: how many processes there are to be; ``all`` and ``answering`` give the numbers of
    those that there are, and of those of them that can be asked; ``say`` tells one something."""

    def __init__(
        self,
        count: int,
        every: Numbers,
        answering: Numbers,
        say: Callable[[int, ToChild], None],
        clock: Clock,
    ) -> None:
        self._every = every
        self._say = say
        self._clock = clock
        self._bounds = CallBounds(count)
        self._rounds = Rounds(answering, say, clock)
        self._lease = LeaderLease()
        self._uses = UsesOfAll()
        self._drained: dict[str, Drained] = {}
        """What administrators have said of backends."""
        self._tried: Tried | None = None
        """The policy that is tried."""
        self._news: dict[tuple[type, str], TailsBooked | Kept] = {}
        """What leaders have said of backends last."""
        self._hears: dict[type, Callable[[int, Any], None]] = {
            Drained: self._drain,
            Tried: self._try_out,
            Wants: self._share,
            GivesBack: self._share,
            Asks: self._rounds.ask,
            Tells: self._rounds.tell,
            Called: self._pass_on,
            AsksToLead: self._let_lead,
            LeadsNoMore: lambda process, _: self._lease.end(process),
            Uses: self._count,
            TailsBooked: self._note,
            Kept: self._note,
        }

    def begin(self, process: int) -> Iterator[ToChild]:
        """What a process must know that is started."""
        yield from self._drained.values()
        if self._tried is not None:
            yield self._tried
        yield from self._news.values()
        yield from self._uses.begin(process)

    def hear(self, process: int, message: Affair) -> None:
        """A process has said something."""
        self._hears[type(message)](process, message)

    def end(self, process: int) -> None:
        """A process is gone."""
        self._lease.end(process)
        for number, told in self._bounds.end(process):
            self._say(number, told)
        self._rounds.end(process)
        for number, used in self._uses.end(process, self._every()):
            self._say(number, used)

    def stop(self) -> None:
        """All are told to end."""
        self._lease.close()

    def _drain(self, process: int, drained: Drained) -> None:
        """Every process is told, those to come too; who has told of it does it twice."""
        self._drained[drained.backend] = drained
        for number in self._every():
            self._say(number, drained)

    def _try_out(self, process: int, tried: Tried) -> None:
        """Every process is told, those to come too, in the order in which they were asked to; of
        the end of a trial where that is the one that goes on."""
        trial, going_on = tried.trial, self._tried
        if going_on and not trial.document and not trial.ends(going_on.trial.since):
            return
        self._tried = tried if trial.document else None
        for number in self._every():
            self._say(number, tried)

    def _share(self, process: int, message: Wants | GivesBack) -> None:
        for number, told in self._bounds.hear(process, message):
            self._say(number, told)

    def _let_lead(self, process: int, message: AsksToLead) -> None:
        until = self._lease.ask(process, self._clock.monotonic())
        if until is not None:
            self._say(process, Leads(until))

    def _count(self, process: int, uses: Uses) -> None:
        for number, used in self._uses.hear(process, uses.backend, uses.use, self._every()):
            self._say(number, used)

    def _note(self, process: int, news: TailsBooked | Kept) -> None:
        self._news[type(news), news.backend] = news
        self._pass_on(process, news)

    def _pass_on(self, process: int, message: ToChild) -> None:
        for number in self._every():
            if number != process:
                self._say(number, message)
