"""What crosses between a serving process and its parent, beside questions to the shared store."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec

from gateway.backends.use_in_all import BackendUse
from gateway.storage.served.messages import Answer, Question, StoreMessage
from gateway.together import ToldTrial

# --- to the parent ------------------------------------------------------------------------------


class Serving(StoreMessage, tag=64, frozen=True):
    """It takes connections."""

    policy: str
    """The version of its policy."""


class Reloaded(StoreMessage, tag=65, frozen=True):
    """It has read the policy again."""

    policy: str
    """The version that is in force now."""


class Drained(StoreMessage, tag=66, frozen=True):
    """An administrator has drained a backend, or sends it calls again: of every process."""

    backend: str
    draining: bool


class Wants(StoreMessage, tag=67, frozen=True):
    """It has so many calls at a backend, of which some wait for what bounds them in all."""

    backend: str
    bound: int
    """How many there may be over all processes."""
    calls: int


class GivesBack(StoreMessage, tag=68, frozen=True):
    """It does not need so many of those that it was granted."""

    backend: str
    bound: int
    count: int


About = Literal["metrics", "readiness", "backends", "trial"]
"""What all processes may be asked of."""


class Asks(StoreMessage, tag=69, frozen=True):
    """It wants to know how something stands in all processes. One answer, ``AllTold``, is for all
    questions of the same that came before the round in which it was found out."""

    about: About


class Tells(StoreMessage, tag=70, frozen=True):
    """How it stands in this process; in round 0 nobody has asked."""

    round: int
    about: About
    report: bytes


class Called(StoreMessage, tag=71, frozen=True):
    """Calls that have come to one process: of every other, which is told the same."""

    counts: tuple[tuple[str, int, int], ...]
    """(model, hour since the epoch, calls)."""


class AsksToLead(StoreMessage, tag=72, frozen=True):
    """It would do what one alone does for all, or go on doing it. Said once a second by each; who
    may not is not answered."""


class LeadsNoMore(StoreMessage, tag=73, frozen=True):
    """It has handed over."""


class Uses(StoreMessage, tag=74, frozen=True):
    """Its calls at a backend, as they are now."""

    backend: str
    use: BackendUse


class TailsBooked(StoreMessage, tag=75, frozen=True):
    """The leader has booked the idle seconds of a backend up to now: every other one is told the
    same."""

    backend: str
    number: int
    """Rows of it so far."""


class Kept(StoreMessage, tag=76, frozen=True):
    """The leader has told a platform to keep so many workers: every other one is told the same."""

    backend: str
    workers: int


class Tried(StoreMessage, tag=77, frozen=True):
    """A policy is to be tried in every process, or nothing is tried any more."""

    trial: ToldTrial


Affair = (
    Drained
    | Tried
    | Wants
    | GivesBack
    | Asks
    | Tells
    | Called
    | AsksToLead
    | LeadsNoMore
    | Uses
    | TailsBooked
    | Kept
)
"""What is everybody's."""
ToParent = Question | Serving | Reloaded | Affair

# --- to a serving process -----------------------------------------------------------------------


class Gone(StoreMessage, tag=96, frozen=True):
    """These processes have ended: what they left in the ledger is to be settled."""

    processes: tuple[int, ...]


class Reload(StoreMessage, tag=97, frozen=True):
    """Read the policy's files again, and those that it names."""

    problems: tuple[str, ...] = ()
    """Why the files' policy is not put in force, where it is not."""


class Retire(StoreMessage, tag=98, frozen=True):
    """Others serve now: take no new connection, and end when the calls have."""


class Granted(StoreMessage, tag=99, frozen=True):
    """It may have so many more calls at a backend; ``pressed``: though others lack some."""

    backend: str
    bound: int
    more: int
    pressed: bool


class Recalled(StoreMessage, tag=100, frozen=True):
    """It is to keep no more than ``left``, and none that it does not need."""

    backend: str
    bound: int
    left: int


class TellOf(StoreMessage, tag=101, frozen=True):
    """It is to tell how something stands in it."""

    round: int
    about: About


class AllTold(StoreMessage, tag=102, frozen=True):
    """What all processes have told."""

    about: About
    reports: tuple[tuple[int, bytes], ...]
    """(number of the process, what it has told); 0 are all together that are gone."""
    silent: tuple[int, ...]
    """Those that have not answered in time."""


class Leads(StoreMessage, tag=103, frozen=True):
    """It does for all what one alone does."""

    until: float
    """Monotonic seconds, which are the same for all processes of a machine."""


class UsedByOthers(StoreMessage, tag=104, frozen=True):
    """The calls of all other processes at a backend, as they are now."""

    backend: str
    use: BackendUse
    first: bool = False
    """They were there before this process."""


ToChild = (
    Answer
    | Gone
    | Reload
    | Retire
    | Drained
    | Tried
    | Granted
    | Recalled
    | TellOf
    | AllTold
    | Called
    | Leads
    | UsedByOthers
    | TailsBooked
    | Kept
)

decode_to_parent: Callable[[memoryview], ToParent] = msgspec.msgpack.Decoder(ToParent).decode
decode_to_child: Callable[[memoryview], ToChild] = msgspec.msgpack.Decoder(ToChild).decode
