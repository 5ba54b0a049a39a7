"""What crosses to and from a supervisor whose workers come and go: beside ``events``."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from local_runtime.protocol.events import Event, WorkerChanged


class Keep(Event, tag=41, frozen=True):
    """Gateway -> supervisor: these workers should exist, and no others. One that is new is
    started, one that is left out is let finish what runs and ended."""

    workers: tuple[int, ...]


class Retired(Event, tag=49, frozen=True):
    """Supervisor -> gateway: this worker is gone, as Keep asked."""

    index: int


FromSupervisor = WorkerChanged | Retired

decode_keep: Callable[[memoryview], Keep] = msgspec.msgpack.Decoder(Keep).decode
decode_from_supervisor: Callable[[memoryview], FromSupervisor] = msgspec.msgpack.Decoder(
    FromSupervisor
).decode
