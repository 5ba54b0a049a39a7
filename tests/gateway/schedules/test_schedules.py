"""Each instant of a schedule begins its job once: over gateways, reloads, deaths and refusals."""

from __future__ import annotations

import contextlib
import datetime
from pathlib import Path

import pytest

from gateway.clock import FakeClock
from gateway.storage.jobs.base import JobsQuery
from gateway.storage.memory import MemorySharedStore
from gateway.types import Permitted, Principal
from tests.gateway.batches.gateways import input_of
from tests.gateway.schedules.gateways import (
    MINUTE,
    night_key,
    often,
    policy_with,
    with_schedules,
)

BEGIN = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC).timestamp()


def minutes(runs: list) -> list[tuple[float, str]]:  # type: ignore[type-arg]
    return [((run.instant - BEGIN) / MINUTE, run.outcome) for run in runs]


async def test_a_job_begins_at_its_instant_and_its_key_pays(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with with_schedules(tmp_path, clock, policy_with(often())) as gateway:
        await gateway.at(MINUTE - 1)
        assert await gateway.runs() == []

        [run] = await gateway.until_runs(1)
        ended = await gateway.until_ended(run.work)

        assert (run.instant - BEGIN, run.outcome, run.why) == (MINUTE, "begun", "")
        assert (ended.state, ended.user, ended.key_id) == ("succeeded", "night", "key_night")
        [row] = await gateway.rows(run.work)
        assert (row.user, row.tags["schedule"]) == ("night", "often")
        assert (await gateway.runs())[0].state == "succeeded"


async def test_several_gateways_begin_each_instant_once(tmp_path: Path, clock: FakeClock) -> None:
    text, shared = policy_with(often(", overlap: allow")), MemorySharedStore(clock)
    async with contextlib.AsyncExitStack() as stack:
        gateways = [
            await stack.enter_async_context(with_schedules(tmp_path, clock, text, shared=shared))
            for _ in range(3)
        ]
        for gateway in gateways:
            await gateway.at(1.0)
        for hour in range(1, 5):
            await gateways[0].at(hour * MINUTE - 1)
            await gateways[0].until_runs(hour)

        runs = await gateways[0].runs()
        jobs = await gateways[0].jobs.store.find(JobsQuery())
        assert minutes(runs) == [(hour, "begun") for hour in range(1, 5)]
        assert sorted(job.id for job in jobs) == sorted(run.work for run in runs)


MISSED = [
    pytest.param("skip", [(1, "missed"), (2, "missed"), (3, "missed")], id="none of them"),
    pytest.param("once", [(1, "missed"), (2, "missed"), (3, "begun")], id="the last of them"),
    pytest.param("all", [(1, "begun"), (2, "begun"), (3, "begun")], id="all of them"),
]


@pytest.mark.parametrize(("missed", "expected"), MISSED)
async def test_what_was_missed_is_begun_by_the_rule(
    missed: str, expected: list[tuple[int, str]], tmp_path: Path, clock: FakeClock
) -> None:
    text = policy_with(often(f", missed: {missed}, overlap: allow"))
    async with with_schedules(tmp_path, clock, text) as gateway:
        await gateway.at(1.0)
    await clock.advance(3.5 * MINUTE)

    async with with_schedules(tmp_path, clock, text) as gateway:
        runs = await gateway.until_runs(3)

    assert minutes(runs) == expected


OVERLAPS = [
    pytest.param("skip", [(1, "begun"), (2, "overlapped")], id="it is passed over"),
    pytest.param("allow", [(1, "begun"), (2, "begun")], id="it begins all the same"),
]


@pytest.mark.parametrize(("overlap", "expected"), OVERLAPS)
async def test_while_the_one_before_runs_the_rule_decides(
    overlap: str, expected: list[tuple[int, str]], tmp_path: Path, clock: FakeClock
) -> None:
    text = policy_with(often(f", overlap: {overlap}", "job: {model: never, input: {x: 1}}"))
    text = text.replace("models:\n", "models:\n  never: {task: infer, backends: [gone], slo: 1h}\n")
    text = text.replace(
        "backends:\n", "backends:\n  gone: {kind: fake, slots: 0, price: flex}\n", 1
    )
    async with with_schedules(tmp_path, clock, text) as gateway:
        await gateway.at(MINUTE - 1)
        await gateway.until_runs(1)
        await gateway.at(2 * MINUTE - 1)
        runs = await gateway.until_runs(2)

    assert minutes(runs) == expected


async def test_one_that_waits_begins_once_the_one_before_has_ended(
    tmp_path: Path, clock: FakeClock
) -> None:
    text = policy_with(often(", overlap: wait", "job: {model: far, input: {x: 1}}"))
    async with with_schedules(tmp_path, clock, text) as gateway:
        gateway.platform.runs_for = 1.6 * MINUTE
        await gateway.at(MINUTE - 1)
        await gateway.until_runs(1)
        await gateway.at(2 * MINUTE - 1)
        assert "has not ended" in await gateway.waits_for()
        assert minutes(await gateway.runs()) == [(1, "begun")]

        runs = await gateway.until_runs(2, step=5.0)

    assert minutes(runs) == [(1, "begun"), (2, "begun")]


async def test_a_key_that_may_not_is_told_and_the_next_instant_is_tried(
    tmp_path: Path, clock: FakeClock
) -> None:
    own = Principal(
        key_id="key_other", user="other", plan="default", permitted=Permitted(models=("chat",))
    )
    text = policy_with(often().replace("key_night", "key_other"))
    async with with_schedules(tmp_path, clock, text) as gateway:
        await gateway.at(MINUTE - 1)
        [unknown] = await gateway.until_runs(1)
        night_key(gateway.inner, own)
        await gateway.at(2 * MINUTE - 1)
        _, barred = await gateway.until_runs(2)

    assert (unknown.outcome, unknown.why) == ("refused", "Nobody pays: there is no key key_other.")
    assert (barred.outcome, barred.why) == (
        "refused",
        "Nobody pays: the key key_other may not use any.",
    )


async def test_a_refusal_of_a_moment_is_waited_for(tmp_path: Path, clock: FakeClock) -> None:
    text = policy_with(often(", missed: skip", cron="1 0 * * *"))
    text = text.replace("default: {requests: 1000/minute", "default: {requests: 1/minute")
    async with with_schedules(tmp_path, clock, text) as gateway:
        await gateway.at(40.0)
        async with gateway.client(gateway.key("night")) as client:
            taken = await client.post("/v1/jobs", json={"model": "any", "input": {"x": 1}})
        await gateway.at(MINUTE - 1)
        why = await gateway.waits_for()
        [run] = await gateway.until_runs(1, step=5.0)

    assert taken.status_code == 202
    assert "has none left" in why
    assert (run.outcome, run.instant - BEGIN) == ("begun", MINUTE)


async def test_one_that_is_refused_for_long_is_told_so(tmp_path: Path, clock: FakeClock) -> None:
    text = policy_with(often(cron="1 0 * * *"))
    text = text.replace("default: {requests: 1000/minute", "default: {requests: 1/day")
    async with with_schedules(tmp_path, clock, text) as gateway:
        async with gateway.client(gateway.key("night")) as client:
            await client.post("/v1/jobs", json={"model": "any", "input": {"x": 1}})
        await gateway.at(MINUTE + 5)
        [run] = await gateway.until_runs(1, step=60.0)

    assert run.outcome == "refused"
    assert "has none left" in run.why


async def test_a_reload_changes_it_and_loses_and_doubles_no_instant(
    tmp_path: Path, clock: FakeClock
) -> None:
    even, odd = often(cron="*/2 * * * *"), often(cron="1-59/2 * * * *")
    async with with_schedules(tmp_path, clock, policy_with(even)) as gateway:
        await gateway.at(2 * MINUTE - 1)
        await gateway.until_runs(1)
        await gateway.at(3.5 * MINUTE)
        await gateway.apply_text(policy_with(odd))
        await gateway.at(4.5 * MINUTE)
        assert minutes(await gateway.runs()) == [(2, "begun")]
        await gateway.at(5 * MINUTE - 1)
        await gateway.until_runs(2)
        await gateway.apply_text(policy_with())
        await gateway.at(8.5 * MINUTE)
        await gateway.apply_text(policy_with(odd))
        await gateway.at(9 * MINUTE - 1)
        runs = await gateway.until_runs(3)

    assert minutes(runs) == [(2, "begun"), (5, "begun"), (9, "begun")]


async def test_a_batch_begins_from_a_file_that_lies_beside_the_policy(
    tmp_path: Path, clock: FakeClock
) -> None:
    path = tmp_path / "texts.jsonl"
    path.write_bytes(input_of([{"x": n} for n in range(3)]))
    work = f"batch: {{endpoint: /v1/infer/any, input: {path}, within: 2h, budget: 1}}"
    async with with_schedules(tmp_path, clock, policy_with(often(work=work))) as gateway:
        await gateway.at(MINUTE - 1)
        [run] = await gateway.until_runs(1)
        async with gateway.client(gateway.key("night")) as client:
            ended = await gateway.until_status(client, run.work, "completed", "failed")

    assert (ended["status"], ended["request_counts"]["completed"]) == ("completed", 3)
    assert (ended["metadata"], ended["budget_usd"]) == ({"schedule": "often"}, "1")


async def test_a_file_that_is_not_there_is_told(tmp_path: Path, clock: FakeClock) -> None:
    work = "batch: {endpoint: /v1/infer/any, input: /nowhere/texts.jsonl}"
    async with with_schedules(tmp_path, clock, policy_with(often(work=work))) as gateway:
        await gateway.at(MINUTE - 1)
        [run] = await gateway.until_runs(1)
        async with gateway.client(gateway.key("root", admin=True)) as client:
            [shown] = (await client.get("/admin/schedules")).json()["schedules"]

    assert (run.outcome, run.work) == ("refused", "")
    assert (
        shown["last"][0]["why"] == "/nowhere/texts.jsonl cannot be read: No such file or directory."
    )
    assert shown["next"][0].startswith("2026-01-01T00:0")


async def test_a_user_pays_with_the_newest_key_that_may(tmp_path: Path, clock: FakeClock) -> None:
    text = policy_with(often().replace("key: key_night", "user: night"))
    async with with_schedules(tmp_path, clock, text) as gateway:
        barred = Permitted(models=("chat",))
        night_key(gateway.inner, Principal(key_id="key_second", user="night", plan="default"))
        night_key(
            gateway.inner,
            Principal(key_id="key_third", user="night", plan="default", permitted=barred),
        )
        await gateway.at(MINUTE - 1)
        [run] = await gateway.until_runs(1)
        job = await gateway.job(run.work)

    assert job.key_id == "key_second"
