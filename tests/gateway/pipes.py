"""A pipe whose reader may pause."""

from __future__ import annotations

import io
import threading


class Pipe(io.BytesIO):
    """Keeps what is written; while the gate is shut, whoever writes waits, as for a full pipe."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.refuses = False
        self.writes: list[bytes] = []

    def write(self, data: object, /) -> int:
        self.entered.set()
        assert self.gate.wait(20)
        if self.refuses:
            raise BrokenPipeError
        self.writes.append(bytes(data))  # type: ignore[call-overload]
        return super().write(data)  # type: ignore[arg-type]

    @property
    def lines(self) -> list[str]:
        return self.getvalue().decode().splitlines()
