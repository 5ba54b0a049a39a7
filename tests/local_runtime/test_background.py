"""Tasks that go on beside whoever started them."""

from __future__ import annotations

import asyncio

from local_runtime.background import TaskSet


async def test_closing_cancels_what_goes_on_and_waits_for_its_end() -> None:
    tasks, ended = TaskSet(), list[str]()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append("late")

    tasks.start(work())
    await asyncio.sleep(0)
    await tasks.aclose()
    assert ended == ["late"]


async def test_waiting_ends_with_the_last_of_them_and_at_once_where_there_is_none() -> None:
    tasks, ended, go = TaskSet(), list[int](), asyncio.Event()
    await tasks.wait(60)

    async def work(number: int) -> None:
        await go.wait()
        ended.append(number)

    for number in (1, 2):
        tasks.start(work(number))
    go.set()
    await tasks.wait(60)
    assert ended == [1, 2]


async def test_a_task_that_outlasts_the_time_given_goes_on() -> None:
    tasks, go, ended = TaskSet(), asyncio.Event(), asyncio.Event()

    async def work() -> None:
        await go.wait()
        ended.set()

    tasks.start(work())
    await tasks.wait(0)
    assert not ended.is_set()
    go.set()
    await asyncio.wait_for(ended.wait(), 30)
