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
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cog import BaseRunner

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
        self, pieces: int = 3, fail: str = "", model: str = "", pause: float = 0
    ) -> Iterator[Any]:
        with noted():
            for number in range(pieces):
                time.sleep(pause)
                yield piece(number) if model else {"piece": number}
            if fail:
                raise ValueError(fail)
            if model:
                yield {"choices": [{"delta": {}, "finish_reason": "stop"}]}
                yield {"choices": [], "usage": USAGE}


def piece(number: int) -> dict[str, Any]:
    return {"choices": [{"delta": {"content": str(number)}, "finish_reason": None}]}
