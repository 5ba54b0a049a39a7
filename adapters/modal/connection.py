"""A backend's connection to Modal: opened when first needed, bounded, closed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import msgspec

from adapters.base import Clock
from adapters.errors import BackendError, FailureClass, is_closed
from adapters.modal.failures import before_submit, unreachable
from adapters.modal.sdk import Session
from adapters.modal.settings import ModalSettings
from adapters.modal.values import Arguments
from adapters.waiting import before, mark_seen

T = TypeVar("T")

_CLOSE_S = 3.0


class Submitted(msgspec.Struct, frozen=True):
    """A call that the platform took: its FunctionCall, and what it yields if it is a generator."""

    remote: Any
    items: Any = None


class ModalSession:
    """A backend's one session, and the work on its way over it. Raises BackendError."""

    def __init__(self, settings: ModalSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._secrets = settings.secrets
        self._opening: asyncio.Task[Session] | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closed = False

    async def ask(self, work: Callable[[Session], Awaitable[T]], seconds: float) -> T:
        """Asks what submits nothing, for so many seconds at most. Raises BackendError."""
        deadline = self._clock.monotonic() + seconds
        try:
            return await before(self._clock, deadline, self._with_session(work))
        except TimeoutError:
            raise BackendError(FailureClass.UNREACHABLE, "The backend did not answer.") from None
        except BackendError:
            raise
        except asyncio.CancelledError:
            if not self._closed or _is_cancelled():
                raise
            raise is_closed() from None
        except Exception as error:
            raise unreachable(error, self._secrets) from None

    def submit(self, name: str, args: Arguments, *, streamed: bool) -> asyncio.Task[Submitted]:
        """Submits a call, in a task that outlives the one that awaits it."""
        task = self.keep(self._submit(name, args, streamed=streamed))
        task.add_done_callback(mark_seen)
        return task

    def keep(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Work that ends with the session at the latest."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def aclose(self) -> None:
        """Whatever still waits for the platform fails. May be called twice."""
        self._closed = True
        opening, self._opening = self._opening, None
        if opening is not None and opening.done() and not opening.exception():
            await self.briefly(opening.result().close())
        while self._tasks:
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks)

    async def briefly(self, work: Awaitable[Any]) -> None:
        """Work on the way out, which may fail and may not take long."""
        with contextlib.suppress(Exception):
            await before(self._clock, self._clock.monotonic() + _CLOSE_S, work)

    # --- inside ----------------------------------------------------------------------------

    async def _submit(self, name: str, args: Arguments, *, streamed: bool) -> Submitted:
        try:
            session = await self._session()
            try:
                return await _sent(session, name, args, streamed=streamed)
            except Exception as error:
                # Nothing was taken; a deploy may have put another function in its place.
                if type(error).__name__ != "NotFoundError":
                    raise
                session.forget()
                return await _sent(session, name, args, streamed=streamed)
        except BackendError:
            raise
        except Exception as error:
            raise before_submit(error, self._secrets) from None

    async def _with_session(self, work: Callable[[Session], Awaitable[T]]) -> T:
        return await work(await self._session())

    async def _session(self) -> Session:
        """The one session, which several may wait for at once. One that failed is tried anew."""
        if self._closed:
            raise is_closed()
        opening = self._opening
        if opening is None or (opening.done() and (opening.cancelled() or opening.exception())):
            opening = self._opening = self.keep(self._open())
            opening.add_done_callback(mark_seen)
        try:
            return await asyncio.shield(opening)
        except TimeoutError:
            raise BackendError(
                FailureClass.UNREACHABLE, "The backend could not be reached."
            ) from None

    async def _open(self) -> Session:
        deadline = self._clock.monotonic() + self._settings.connect_timeout
        return await before(self._clock, deadline, Session.open(self._settings))


async def _sent(session: Session, name: str, args: Arguments, *, streamed: bool) -> Submitted:
    if streamed:
        return Submitted(*await session.start_generator(name, *args))
    return Submitted(await session.spawn(name, *args))


def _is_cancelled() -> bool:
    """Whether the task that runs was cancelled itself, and not what it waited for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
