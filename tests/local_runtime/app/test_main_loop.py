"""Plain functions where no event loop runs, in the thread whose loop makes way for them."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest
import uvloop

from local_runtime.app.main_loop import call_without_loop, run

T = TypeVar("T")


def on_a_main_loop(main: Coroutine[Any, Any, T]) -> T:
    return run(main, uvloop.new_event_loop)


async def one() -> int:
    return 1


def test_a_function_may_run_a_loop_of_its_own_in_the_very_thread() -> None:
    def function(number: int) -> tuple[int, threading.Thread]:
        return number + asyncio.run(one()), threading.current_thread()

    async def main() -> tuple[int, threading.Thread]:
        return await call_without_loop(function, 2)

    assert on_a_main_loop(main()) == (3, threading.current_thread())


def test_the_loop_goes_on_after_each() -> None:
    async def main() -> list[int]:
        calls = [call_without_loop(lambda number=number: number) for number in range(5)]
        results = await asyncio.gather(*calls)
        await asyncio.sleep(0)
        return results

    assert on_a_main_loop(main()) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3), KeyboardInterrupt()])
def test_what_it_raises_is_raised_where_it_is_awaited(error: BaseException) -> None:
    def fails() -> None:
        raise error

    async def main() -> BaseException | None:
        try:
            await call_without_loop(fails)
        except BaseException as raised:
            return raised
        return None

    assert on_a_main_loop(main()) is error


def test_what_a_failed_function_held_goes_with_its_error() -> None:
    """A model's memory must not wait for the cycle collector."""
    gone: list[str] = []

    class Held:
        def __del__(self) -> None:
            gone.append("held")

    def fails() -> None:
        held = Held()
        raise ValueError(held.__class__.__name__)

    async def main() -> list[str]:
        with contextlib.suppress(ValueError):
            await call_without_loop(fails)
        return list(gone)

    assert on_a_main_loop(main()) == ["held"]


def test_one_whose_caller_has_left_is_not_called() -> None:
    called: list[int] = []

    async def main() -> None:
        task = asyncio.create_task(call_without_loop(called.append, 1))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])

    on_a_main_loop(main())
    assert called == []


def test_it_runs_in_the_context_that_it_is_given() -> None:
    word = contextvars.ContextVar("word", default="none")

    async def main() -> str:
        word.set("said")
        return await call_without_loop(contextvars.copy_context().run, word.get)

    assert on_a_main_loop(main()) == "said"


def test_on_another_loop_it_is_called_at_once() -> None:
    async def main() -> int:
        return await call_without_loop(lambda: 7)

    assert asyncio.run(main()) == 7
