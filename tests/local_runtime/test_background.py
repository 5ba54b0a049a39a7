"""Tasks beside whoever started them: none is left when they are closed."""

from __future__ import annotations

import asyncio

from local_runtime.background import TaskSet


async def test_what_a_task_would_start_while_all_are_closed_is_not_begun() -> None:
    tasks, begun = TaskSet(), list[str]()

    async def another() -> None:
        begun.append("another")

    async def first() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            tasks.start(another())

    before = asyncio.all_tasks()
    tasks.start(first())
    await asyncio.sleep(0)
    await tasks.aclose()
    tasks.start(another())
    await asyncio.sleep(0)
    assert (asyncio.all_tasks(), begun) == (before, [])


async def test_all_may_be_waited_for_before_they_are_closed() -> None:
    tasks, done = TaskSet(), asyncio.Event()

    async def ends() -> None:
        done.set()

    tasks.start(ends())
    await tasks.wait(5.0)
    assert done.is_set()
