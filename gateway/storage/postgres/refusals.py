"""Whose fault it is that writes that share a transaction were refused: the server's, or one's."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import asyncpg

from gateway.storage.postgres.connections import LOST


def is_lost(error: BaseException | None) -> bool:
    """Whether the server cannot be asked, so that to ask again would take as long again. One
    statement that took too long says nothing of the server."""
    mild = (ValueError, asyncpg.QueryCanceledError)
    return isinstance(error, LOST) and not isinstance(error, mild)


def may_be_split(error: BaseException | None, answered: int, asked: int) -> bool:
    """Whether each of the writes may fare better by itself, where so many of the statements that
    were ``asked`` were ``answered`` before this error. One that came as they were committed is
    everyone's: they may be kept."""
    if isinstance(error, TimeoutError):
        return 0 < answered < asked
    return not is_lost(error)


def too_slow(error: BaseException | None, answered: int, sizes: Sequence[int]) -> int | None:
    """Which of the writes, of so many statements each, the server gave up, where it did: it has
    had all its time, and gets no more."""
    if not isinstance(error, asyncpg.QueryCanceledError):
        return None
    return next((at for at, end in enumerate(itertools.accumulate(sizes)) if answered < end), None)
