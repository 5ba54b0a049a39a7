"""A model for Cog's own server: it does what its input says, and notes what is running.

``Whole`` runs many calls at once; ``Pieces`` gives its output piece by piece, for which it must
be a plain generator, since Cog hands out an asynchronous one's pieces all at its end.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from cog import BaseRunner

GATE = Path("go-on")
"""A gated run gives its second piece once this file is there."""
USAGE = {"prompt_tokens": 3, "completion_tokens": 2}


@contextlib.contextmanager
def noted() -> Iterator[None]:
    """A file that is there while the call runs."""
    note = Path(f"{os.getpid()}-{uuid.uuid4().hex}.running")
    note.touch()
    try:
        yield
    finally:
        note.unlink()


class Whole(BaseRunner):  # type: ignore[misc]  # it is untyped
    async def run(
        self, echo: str = "", fail: str = "", sleep: float = 0, model: str = ""
    ) -> dict[str, Any]:
        with noted():
            if fail:
                raise ValueError(fail)
            await asyncio.sleep(sleep)
            if model:
                message = {"role": "assistant", "content": "hello"}
                return {"choices": [{"message": message}], "usage": USAGE}
            return {"echo": echo}


class Pieces(BaseRunner):  # type: ignore[misc]
    def run(
        self,
        pieces: int = 3,
        fail: str = "",
        model: str = "",
        pause: float = 0,
        gated: bool = False,
    ) -> Iterator[Any]:
        with noted():
            for number in range(pieces):
                time.sleep(pause)
                while gated and number and not GATE.exists():
                    time.sleep(0.02)
                yield piece(number) if model else {"piece": number}
            if fail:
                raise ValueError(fail)
            if model:
                yield {"choices": [{"delta": {}, "finish_reason": "stop"}]}
                yield {"choices": [], "usage": USAGE}


class AsyncPieces(BaseRunner):  # type: ignore[misc]
    async def run(self, pieces: int = 3, gated: bool = False) -> AsyncIterator[Any]:
        with noted():
            for number in range(pieces):
                while gated and number and not GATE.exists():
                    await asyncio.sleep(0.02)
                yield {"piece": number}


def piece(number: int) -> dict[str, Any]:
    return {"choices": [{"delta": {"content": str(number)}, "finish_reason": None}]}
