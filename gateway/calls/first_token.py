"""A bound for how long a stream may bring nothing: the attempt is broken off, the call is not."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

from adapters.errors import BackendError, FailureClass
from gateway.shared_timer import SharedTimer


class FirstTokenLimit:
    """``with FirstTokenLimit(timer, until): ...`` raises BackendError (TIMEOUT) where what is
    inside has not ended by ``until``, in monotonic seconds. A cancellation of the call itself
    stays one."""

    def __init__(self, timer: SharedTimer, until: float) -> None:
        self._timer = timer
        self._until = until
        self._passed = False

    def _look(self, now: float) -> None:
        if now >= self._until:
            self._timer.unwatch(self)
            self._passed = True
            self._task.cancel()

    def __enter__(self) -> Self:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._before = task.cancelling()
        self._timer.watch(self, self._look)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        why: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._timer.unwatch(self)
        if not self._passed:
            return
        others = self._task.uncancel() > self._before
        if isinstance(why, asyncio.CancelledError) and not others:
            raise BackendError(
                FailureClass.TIMEOUT, "The backend sent no first token in time."
            ) from None
