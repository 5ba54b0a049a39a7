"""Modal calls that outlive their caller: handed over, asked about by a handle, stopped.

Results of spawned calls are kept for seven days. The platform does not say when a call began or
ended, so its time is counted until it is first seen to have ended.
Source: https://modal.com/docs/guide/job-queue
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from adapters.base import Clock
from adapters.errors import BackendError, FailureClass
from adapters.http.outputs import answer_of
from adapters.modal.connection import ModalSession, Submitted
from adapters.modal.failures import after_submit
from adapters.modal.sdk import Session
from adapters.modal.settings import ModalSettings
from adapters.modal.values import json_of
from adapters.types import Call, Handle, JobState, Usage

_ASK_S = 10.0
_UNKNOWN = "NotFoundError"


class Returned(msgspec.Struct, frozen=True):
    """What a function returned, which may be None."""

    value: Any


class ModalJobs:
    """The calls of one function that were handed over. Raises BackendError."""

    def __init__(
        self,
        session: ModalSession,
        settings: ModalSettings,
        clock: Clock,
        hand_over: Callable[[Call], Awaitable[Submitted]],
    ) -> None:
        self._session = session
        self._secrets = settings.secrets
        self._clock = clock
        self._hand_over = hand_over

    async def submit(self, call: Call) -> Handle:
        """The function's own time limit bounds the job: Modal takes no deadline with a call."""
        submitted = await self._hand_over(call)
        job = str(submitted.remote.object_id)
        return Handle(job=job, call=call.id, task=call.task, submitted=self._clock.time())

    async def poll(self, handle: Handle) -> JobState:
        usage = Usage(exec_s=max(0.0, self._clock.time() - handle.submitted))
        returned = await self._session.ask(lambda one: self._asked(one, handle, usage), _ASK_S)
        if returned is None:
            return JobState(status="running")
        output = json_of(returned.value, usage)
        return JobState(status="done", reply=answer_of(output, handle.task, usage, self._secrets))

    async def stop(self, handle: Handle) -> Usage | None:
        await self._session.ask(lambda one: _stopped(one, handle), _ASK_S)
        return None

    async def _asked(self, session: Session, handle: Handle, usage: Usage) -> Returned | None:
        try:
            return Returned(await session.named(handle.job).get.aio(timeout=0))
        except TimeoutError:
            return None
        except Exception as error:
            if type(error).__name__ == _UNKNOWN:
                raise BackendError(
                    FailureClass.TIMEOUT, "The platform no longer knows this job."
                ) from None
            raise after_submit(error, usage, self._secrets) from None


async def _stopped(session: Session, handle: Handle) -> None:
    try:
        await session.named(handle.job).cancel.aio()
    except Exception as error:
        if type(error).__name__ != _UNKNOWN:
            raise
