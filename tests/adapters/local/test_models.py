"""Several models in one worker of ``kind: local``: real processes, small torch models."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from adapters.base import LoadsModels, ReportsModels
from adapters.errors import BackendError, FailureClass
from adapters.local.backend import Local
from adapters.local.settings import SharedModel
from adapters.types import Call, ModelMemory, Reply
from tests.adapters.local.backends import call, pids, running
from tests.waiting import until

GIB = 1024**3


@asynccontextmanager
async def many(tmp_path: Path, room: int = 2, **settings: Any) -> AsyncIterator[Local]:
    """The app of several models, with room for ``room`` of them."""
    env = {"GATE": str(tmp_path / "gate")}
    options = {"memory": room * GIB, "threads": 1, "device": "cpu", "env": env, **settings}
    async with running("many.py", wait=False, **options) as backend:
        await until(lambda: bool(backend.stock()), within_s=60)
        yield backend


FACTORS = {"double": 2.0, "triple": 3.0}


def asked(model: str, body: Any) -> Call:
    plain = call(body)
    return Call(id=plain.id, model=model, task="infer", body=plain.body)


async def ask(backend: Local, model: str, body: Any = None) -> tuple[Any, Reply]:
    reply = await backend.invoke(asked(model, body or {"x": 4}))
    return json.loads(reply.body), reply


async def refusal(backend: Local, model: str) -> BackendError:
    with pytest.raises(BackendError) as caught:
        await ask(backend, model)
    return caught.value


def of(backend: Local, model: str) -> ModelMemory:
    """How a model stands in the only worker."""
    (models,) = backend.stock().values()
    return models[model]


async def test_three_models_are_served_where_there_is_room_for_two(tmp_path: Path) -> None:
    """The one that was used least goes; who waited for a load is told how long, and only he."""
    async with many(tmp_path) as backend:
        assert isinstance(backend, ReportsModels)
        first, cold = await ask(backend, "double")
        again, warm = await ask(backend, "double")
        assert (first["y"], again["model"]) == (9.0, "double")
        assert (cold.usage.cold_s or 0) > 0
        assert warm.usage.cold_s == 0
        assert (await ask(backend, "triple"))[0]["y"] == 13.0
        assert (await ask(backend, "ten"))[0]["y"] == 41.0
        resident = {name for name in ("double", "triple", "ten") if of(backend, name).resident}
        assert len(resident) == 2
        assert "ten" in resident
        gone = ({"double", "triple"} - resident).pop()
        assert (await ask(backend, "ten"))[0]["gone"] == [gone]
        assert (of(backend, gone).loads, of(backend, gone).evictions) == (1, 1)
        assert (await ask(backend, gone))[0]["model"] == gone
        assert of(backend, gone).loads == 2


async def test_calls_go_on_while_a_model_is_loaded_and_it_is_loaded_once(tmp_path: Path) -> None:
    """Its loader waits for the test; ten callers wait for it."""
    async with many(tmp_path) as backend:
        await ask(backend, "double")
        waiting = [asyncio.create_task(ask(backend, "slow", {"x": n})) for n in range(10)]
        await until((tmp_path / "gate.begun").exists)
        assert (await ask(backend, "double"))[0]["y"] == 9.0
        assert not any(task.done() for task in waiting)
        (tmp_path / "gate").touch()
        answers = await asyncio.gather(*waiting)
        assert [body["y"] for body, _ in answers] == [7.0 * n + 1 for n in range(10)]
        assert of(backend, "slow").loads == 1
        assert all((reply.usage.cold_s or 0) > 0 for _, reply in answers)


async def test_a_call_is_seen_to_wait_until_its_model_is_there(tmp_path: Path) -> None:
    """So that nobody takes the load for running: budgets are charged for what runs."""
    async with many(tmp_path) as backend:
        waiting, running = asked("slow", {"x": 4}), asked("double", {"x": 4})
        reply = asyncio.create_task(backend.invoke(waiting))
        await until((tmp_path / "gate.begun").exists)
        await until(lambda: waiting.progress.queued_until > 0)
        seen = waiting.progress.queued_until
        await until(lambda: waiting.progress.queued_until > seen)
        (tmp_path / "gate").touch()
        assert ((await reply).usage.cold_s or 0) > 0
        await backend.invoke(asked("double", {"x": 4}))
        await backend.invoke(running)
        assert running.progress.queued_until < 0


async def test_a_model_that_a_call_uses_is_not_evicted(tmp_path: Path) -> None:
    """The call of the other waits until that one has ended."""
    async with many(tmp_path, room=1, handler="/hold") as backend:
        busy = asyncio.create_task(ask(backend, "double", {"until": str(tmp_path / "a")}))
        await until(lambda: of(backend, "double").resident > 0)
        (tmp_path / "b").touch()
        other = asyncio.create_task(ask(backend, "late", {"until": str(tmp_path / "b")}))
        await until(lambda: "leaving" in str(backend._workers.connections[0].facts.cache))
        assert not other.done()
        (tmp_path / "a").touch()
        assert (await busy)[0] == [3.0]
        assert (await other)[0] == [6.0]
        assert of(backend, "double").evictions == 1


async def test_a_load_that_fails_is_told_without_its_words_and_not_tried_at_once(
    tmp_path: Path,
) -> None:
    """Nothing ran, so another backend may be asked; other models are served."""
    async with many(tmp_path) as backend:
        error = await refusal(backend, "broken")
        assert error.failure is FailureClass.LOADING
        assert "the model broken could not be loaded (OSError)" in error.message
        assert "disk" not in error.message
        await refusal(backend, "broken")
        assert of(backend, "broken").failures == 1
        assert (await ask(backend, "double"))[0]["y"] == 9.0


async def test_a_load_that_never_ends_costs_its_worker_and_a_neighbour_goes_on(
    tmp_path: Path,
) -> None:
    """Nothing else would stop its thread; the worker is started again."""
    async with many(tmp_path, workers=2) as backend:
        await until(lambda: len(backend.stock()) == 2, within_s=60)
        before = pids()
        error = await refusal(backend, "stuck")
        assert error.failure is FailureClass.WORKER_DIED
        assert (await ask(backend, "double"))[0]["y"] == 9.0
        await until(lambda: len(backend.stock()) == 2 and pids() != before, within_s=60)
        assert len(set(pids()) & set(before)) == 1


async def test_a_name_that_the_app_does_not_have_is_for_another_backend(tmp_path: Path) -> None:
    async with many(tmp_path) as backend:
        error = await refusal(backend, "gpt")
        assert error.failure is FailureClass.UNSUPPORTED
        assert error.message == "/ has no model 'gpt'"


async def test_a_batch_is_of_one_model(tmp_path: Path) -> None:
    async with many(tmp_path, handler="/batch") as backend:
        names = ["double", "triple"] * 4
        await asyncio.gather(*(ask(backend, name) for name in names))
        calls = [ask(backend, name, {"x": n}) for n, name in enumerate(names)]
        answers = await asyncio.gather(*calls)
        assert [body["y"] for body, _ in answers] == [
            FACTORS[name] * n + 1 for n, name in enumerate(names)
        ]
        assert max(body["batch"] for body, _ in answers) <= 4


async def test_a_caller_who_leaves_waits_for_no_model(tmp_path: Path) -> None:
    """The load goes on; the next caller has it."""
    async with many(tmp_path) as backend:
        leaving = asked("slow", {"x": 1})
        task = asyncio.create_task(backend.invoke(leaving))
        await until((tmp_path / "gate.begun").exists)
        usage = await backend.cancel(leaving.id)
        assert usage is not None
        assert (usage.cold_s or 0) > 0
        with pytest.raises(BackendError) as caught:
            await task
        assert caught.value.failure is FailureClass.CANCELLED
        (tmp_path / "gate").touch()
        assert (await ask(backend, "slow"))[0]["y"] == 29.0
        assert of(backend, "slow").loads == 1


async def test_a_pinned_model_is_there_before_the_first_call_and_stays(tmp_path: Path) -> None:
    """The policy says so, and what it weighs; the app said otherwise."""
    pinned = {"ten": SharedModel(memory=2 * GIB, pin=True)}
    async with many(tmp_path, room=3, models=pinned) as backend:
        assert of(backend, "ten").resident == 2 * GIB
        for name in ("double", "triple", "double"):
            await ask(backend, name)
        _, warm = await ask(backend, "ten")
        assert (warm.usage.cold_s, of(backend, "ten").loads) == (0, 1)


async def test_calls_go_to_the_worker_that_has_their_model(tmp_path: Path) -> None:
    """Two workers, each with room for one: neither ever loads the other's."""
    async with many(tmp_path, room=1, workers=2) as backend:
        await until(lambda: len(backend.stock()) == 2, within_s=60)
        ran: dict[str, set[str | None]] = {"double": set(), "triple": set()}
        for name in ["double", "triple"] * 5:
            ran[name].add((await ask(backend, name))[1].usage.worker)
        assert [len(names) for names in ran.values()] == [1, 1]
        assert sum(one.loads for each in backend.stock().values() for one in each.values()) == 2


async def test_a_load_is_foreseen_until_the_model_is_there(tmp_path: Path) -> None:
    """By its size before any was seen; the last of its own afterwards; and no more once it is
    there. A name that is none of the app's is not known to need one."""
    async with many(tmp_path, room=1) as backend:
        assert isinstance(backend, LoadsModels)
        assert [backend.load_in(name) for name in ("double", "m")] == [1.0, 0.0]
        waiting = asyncio.create_task(ask(backend, "slow"))
        await until(lambda: of(backend, "slow").resident > 0)
        (tmp_path / "gate").touch()
        await waiting
        took = of(backend, "slow").load_s
        assert took > 0
        assert backend.load_in("slow") == 0.0
        assert backend.load_in("double") == took, "the only load that was seen"
        _, cold = await ask(backend, "double")
        assert cold.usage.load_s == cold.usage.cold_s
        assert (cold.usage.load_s or 0) > 0
        assert backend.load_in("slow") == took


async def test_a_load_that_waits_for_calls_under_way_is_foreseen_with_them(tmp_path: Path) -> None:
    async with many(tmp_path, room=1, handler="/hold") as backend:
        (tmp_path / "a").touch()
        await ask(backend, "late", {"until": str(tmp_path / "a")})
        await ask(backend, "double", {"until": str(tmp_path / "a")})
        idle = backend.load_in("late")
        busy = asyncio.create_task(ask(backend, "double", {"until": str(tmp_path / "b")}))
        await until(lambda: (backend.load_in("late") or 0.0) > (idle or 0.0))
        (tmp_path / "b").touch()
        await busy
        assert backend.load_in("late") == idle


async def test_a_call_that_would_be_refused_for_a_failed_load_is_foreseen(tmp_path: Path) -> None:
    async with many(tmp_path) as backend:
        assert backend.load_in("broken") is not None

        async def refused_and_foreseen() -> bool:
            await refusal(backend, "broken")
            return backend.load_in("broken") is None

        await until(refused_and_foreseen)
        assert backend.load_in("double") is not None


async def test_an_app_whose_models_cannot_fit_is_not_started_again(tmp_path: Path) -> None:
    """Sizes of the app alone, which no policy has told."""
    options = {"memory": GIB // 2, "device": "cpu"}
    async with running("many.py", wait=False, **options) as backend:
        await until(lambda: backend._workers.hopeless, within_s=60)
        assert "the model double: 1 GiB cannot fit in a memory of 512 MiB" in (
            (await backend.probe()).detail
        )


async def test_two_steppers_models_take_turns_in_a_memory_for_one(tmp_path: Path) -> None:
    """Each call has its own model's answer, however often that went and came; what was evicted
    took its stepper along."""
    async with many(tmp_path, room=1, handler="/steps") as backend:
        names = ["double", "triple"] * 8
        calls = [ask(backend, name, {"x": n, "steps": 3}) for n, name in enumerate(names)]
        answers = [body for body, _ in await asyncio.gather(*calls)]
        assert answers == [[FACTORS[name] * n + 1] * 3 for n, name in enumerate(names)]
        assert of(backend, "double").evictions + of(backend, "triple").evictions >= 1
        seen = json.loads((await backend.invoke(call({}, "embeddings"))).body)
        assert seen["steppers"] == 1
        assert max(seen["sizes"].values()) <= 2


async def test_a_stepper_that_cannot_be_made_of_a_model_leaves_the_worker(tmp_path: Path) -> None:
    async with many(tmp_path, handler="/unmade") as backend:
        before = pids()
        for _ in range(2):
            assert "(KeyError)" in (await refusal(backend, "double")).message
        assert pids() == before
