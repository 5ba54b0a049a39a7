"""Calls whose caller was promised the work: they are settled when that has ended.

Their rows are durable before the promise is passed on, so that a process which dies leaves nothing
that is free: its next start settles them at what was held.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from adapters.errors import BackendError
from adapters.types import Reply, Usage
from gateway.calls.attempt import Attempt
from gateway.calls.completion import Completion
from gateway.calls.rows import open_row
from gateway.calls.state import CallState
from gateway.storage.base import Ledger, StorageUnavailable
from gateway.tasks import BackgroundTasks
from gateway.types import ApiError

log = logging.getLogger("spillgate")


class PromisedJobs:
    """Follows each to its end."""

    def __init__(self, *, completion: Completion, ledger: Ledger) -> None:
        self._completion = completion
        self._ledger = ledger
        self._tasks = BackgroundTasks()

    async def follow(self, state: CallState, attempt: Attempt, reply: Reply) -> None:
        """From now on the call is settled by a task of its own. Raises StorageUnavailable where its
        row cannot be made durable: then the work is stopped."""
        assert reply.rest is not None
        if not state.opened:
            try:
                await self._ledger.open(open_row(state, state.at_backend))
            except StorageUnavailable:
                await self._completion.abandon_after_fault(state)
                raise
            state.opened = True
        attempt.backend.hand_over(attempt.lease)
        state.goes_on_in(self._tasks.run(self._settle_at_end(state, attempt, reply)))

    async def _settle_at_end(self, state: CallState, attempt: Attempt, reply: Reply) -> None:
        rest: Callable[[], Awaitable[Usage]] | None = reply.rest
        assert rest is not None
        try:
            await self._completion.finish(state, attempt, await rest(), status=reply.status)
        except BackendError as failure:
            await self._completion.failed_after_answer(state, attempt, failure)
        except asyncio.CancelledError:
            if state.stop_cause or not reply.outlives:
                await self._completion.abandon(state)
            # else the work goes on without this process: its row stays open for the next one
        except ApiError as error:
            log.error("call %s: %s", state.call.id, error.message)
        except Exception:
            log.exception("call %s: its adapter failed after it had promised", state.call.id)
            await self._completion.abandon_after_fault(state)

    async def aclose(self) -> None:
        """The gateway ends: what ends with it is stopped, and charged what it used."""
        await self._tasks.cancel()
