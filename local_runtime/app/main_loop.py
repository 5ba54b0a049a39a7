"""An event loop that makes way for plain functions which must find none running."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, TypeVar, cast

T = TypeVar("T")


class _Here(threading.local):
    functions: deque[Callable[[], None]] | None = None
    """What this thread calls when its loop has stopped next; None: it runs no such loop."""


_here = _Here()


def run(main: Coroutine[Any, Any, T], make_loop: Callable[[], asyncio.AbstractEventLoop]) -> T:
    """What ``main`` returns on a new loop, as with ``asyncio.run``, in which ``call_without_loop``
    can be used. Raises whatever it raises."""
    with asyncio.Runner(loop_factory=make_loop) as runner:
        loop = runner.get_loop()
        functions = _here.functions = deque()
        task = loop.create_task(main)
        task.add_done_callback(lambda _: loop.stop())
        try:
            while not task.done():
                loop.run_forever()
                while functions:
                    functions.popleft()()
        finally:
            _here.functions = None
        return task.result()


async def call_without_loop(function: Callable[..., T], *arguments: Any) -> T:
    """What ``function`` returns, called in this thread while its loop is stopped: no loop runs
    then, so it may run one of its own, with ``asyncio.run``. Raises whatever it raises.

    On a loop that is not one of ``run`` the function is called at once."""
    functions = _here.functions
    if functions is None:
        return function(*arguments)
    loop = asyncio.get_running_loop()
    called: asyncio.Future[None] = loop.create_future()
    outcome: list[tuple[Any, BaseException | None]] = []
    functions.append(partial(_call, called, outcome, function, arguments))
    loop.stop()
    await called
    result, error = outcome.pop()
    try:
        if error is not None:
            raise error
        return cast("T", result)
    finally:
        del error  # else its traceback, and so all that the function held, holds itself


def _call(
    called: asyncio.Future[None],
    outcome: list[tuple[Any, BaseException | None]],
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
) -> None:
    if called.cancelled():
        return
    try:
        outcome.append((function(*arguments), None))
    except BaseException as error:  # of which an extension in Rust makes its panics
        outcome.append((None, error))
    called.set_result(None)
