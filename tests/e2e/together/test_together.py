"""Two processes on one port: what one of them alone would keep, both keep together."""

from __future__ import annotations

import asyncio
import collections
import itertools
import os
import signal
from collections.abc import Iterator
from functools import partial

import httpx
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.together.gateways import (
    alive,
    ask,
    ask_quickly,
    gateway_in,
    open_calls,
    settled,
    started,
)
from tests.live import LiveGateway
from tests.processes import lasting
from tests.waiting import until

MILLI = 1_000_000
"""Nano-dollars that a call costs."""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveGateway]:
    with lasting(), gateway_in(tmp_path_factory.mktemp("together")) as running:
        yield running


async def both(gateway: LiveGateway) -> tuple[int, int]:
    """Waits until two processes serve."""
    await until(lambda: len(alive(gateway)) == 2, "two serve")
    one, two = alive(gateway)
    return one, two


async def test_a_cap_for_a_hundred_lets_a_hundred_of_a_thousand_pass(
    gateway: LiveGateway,
) -> None:
    await both(gateway)
    before = sum(cost for _, _, cost in settled(gateway))
    key = gateway.create_key("carol", "--limit", "spend=0.1 USD/day")
    asked = await asyncio.gather(*(ask_quickly(gateway, key, 5) for _ in range(200)))
    seen = collections.Counter(itertools.chain.from_iterable(asked))
    assert set(seen) == {200, 402}
    assert 97 <= seen[200] <= 100
    cost = sum(cost for _, _, cost in settled(gateway)) - before
    assert cost == seen[200] * MILLI <= 100 * MILLI
    async with gateway.async_client(key) as client:
        limits = (await client.get("/v1/me")).json()["limits"]
    (spend,) = (limit for limit in limits if (limit["unit"], limit["window"]) == ("usd", "day"))
    assert spend["remaining"] == pytest.approx(0.1 - seen[200] * 0.001)


async def test_a_key_is_known_to_both_as_soon_as_it_is_made_and_no_longer_than_it_lives(
    gateway: LiveGateway,
) -> None:
    await both(gateway)
    with gateway.client(gateway.admin_key) as admin:
        made = admin.post("/admin/keys", json={"user": "bob"}).json()
        assert await statuses(gateway, made["key"]) == {200}
        assert admin.delete(f"/admin/keys/{made['id']}").status_code == 200
        assert await statuses(gateway, made["key"]) == {401}


async def statuses(gateway: LiveGateway, key: str) -> set[int]:
    """What thirty new connections get."""

    async def one() -> int:
        async with gateway.async_client(key) as client:
            return (await client.get("/v1/models")).status_code

    return {await one() for _ in range(30)}


async def test_one_that_is_killed_is_replaced_and_its_calls_are_settled(
    gateway: LiveGateway,
) -> None:
    one, two = await both(gateway)
    before = len(started(gateway))
    answered: list[str] = []
    async with gateway.async_client() as client:
        callers = [asyncio.create_task(keep_asking(client, answered)) for _ in range(16)]
        await until(lambda: len(answered) > 100, "the load runs")
        os.kill(one, signal.SIGKILL)
        so_far = len(answered)
        await until(lambda: len(answered) > so_far + 100, "the other serves")
        await until(lambda: len(started(gateway)) > before, "another is started")
        for caller in callers:
            caller.cancel()
        await asyncio.gather(*callers, return_exceptions=True)
    assert two in alive(gateway)
    await until(lambda: open_calls(gateway) == 0, "what it left open is settled", within_s=10.0)
    rows = settled(gateway)
    outcomes = {id: outcome for id, outcome, _ in rows}
    assert len(outcomes) == len(rows)
    assert {outcomes.get(id) for id in answered} == {"success"}
    await until(partial(holds_nothing, gateway), "nothing is held any more", within_s=10.0)


async def keep_asking(client: httpx.AsyncClient, answered: list[str]) -> None:
    while True:
        try:
            answer = await ask(client)
        except httpx.TransportError:
            continue
        if answer.status_code == 200:
            answered.append(answer.headers["x-request-id"])


async def holds_nothing(gateway: LiveGateway) -> bool:
    async with gateway.async_client() as client:
        limits = (await client.get("/v1/me")).json()["limits"]
    (concurrent,) = (one for one in limits if one["unit"] == "concurrent")
    left: bool = concurrent["remaining"] == concurrent["limit"]
    return left


async def test_a_backend_that_is_drained_is_drained_in_both_and_in_who_comes_later(
    gateway: LiveGateway,
) -> None:
    await both(gateway)
    with gateway.client(gateway.admin_key) as admin:
        assert admin.post("/admin/backends/home/drain").status_code == 200
        await until(partial(all_answer, gateway, 503), "nobody sends it calls")
        before = len(started(gateway))
        os.kill(alive(gateway)[0], signal.SIGKILL)
        await until(lambda: len(started(gateway)) > before, "another is started")
        await both(gateway)
        assert await all_answer(gateway, 503)
    with gateway.client(gateway.admin_key) as admin:  # its process may have been the one
        assert admin.post("/admin/backends/home/enable").status_code == 200
    await until(partial(all_answer, gateway, 200), "all send it calls again")


async def all_answer(gateway: LiveGateway, status: int) -> bool:
    """Whether twenty new connections get it."""

    async def one() -> int:
        async with gateway.async_client() as client:
            return (await ask(client)).status_code

    return {await one() for _ in range(20)} == {status}


async def test_a_policy_by_http_is_in_force_in_both_and_in_who_comes_later(
    gateway: LiveGateway,
) -> None:
    """Also after a SIGHUP that finds the files as they were; and it can be rolled back."""
    await both(gateway)
    text = gateway.config.read_text()
    with gateway.client(gateway.admin_key) as admin:
        before = admin.get("/admin/policy").json()["policy"]
        applied = admin.post("/admin/policy/apply", content=f"{text}\nalerts: {{at: [50]}}\n")
        assert applied.status_code == 200, applied.text
        after = applied.json()["policy"]
    assert await versions(gateway) == {after}
    gateway.reload()
    earlier = len(started(gateway))
    os.kill(alive(gateway)[0], signal.SIGKILL)
    await until(lambda: len(started(gateway)) > earlier, "another is started")
    await both(gateway)
    assert await versions(gateway) == {after}
    with gateway.client(gateway.admin_key) as admin:
        back = admin.post("/admin/policy/rollback")
        assert (back.status_code, back.json()["policy"]) == (200, before)
        told = admin.get("/admin/policy/history").json()["data"]
    assert await versions(gateway) == {before}
    assert [one["act"] for one in told[:2]] == ["roll_back", "apply"]


async def test_a_policy_is_tried_in_both_and_counted_over_both(gateway: LiveGateway) -> None:
    """Whichever process is asked, and ended in both."""
    await both(gateway)
    key = gateway.create_key("dora")
    with gateway.client(gateway.admin_key) as admin:
        version = admin.get("/admin/policy").json()["policy"]
        policy = yaml.safe_load(admin.get(f"/admin/policy/{version}").json()["yaml"])
        policy["routes"].insert(0, {"name": "other", "when": {"model": "near"}, "use": ["home"]})
        begun = admin.post("/admin/policy/shadow", content=yaml.safe_dump(policy))
        assert begun.status_code == 200, begun.text
    await asyncio.gather(*(ask_quickly(gateway, key, 2) for _ in range(20)))
    await until(partial(counted, gateway, 40), "all are counted, whoever is asked")
    with gateway.client(gateway.admin_key) as admin:
        told = admin.delete("/admin/policy/shadow").json()["predicted"]
        assert (told["calls"], told["failed"], told["elsewhere"]) == (40, 0, 0)
    await until(partial(counted, gateway, None), "nothing is tried, whoever is asked")


async def counted(gateway: LiveGateway, calls: int | None) -> bool:
    """Whether twenty new connections are told of so many calls of a trial; None: of no trial."""

    async def one() -> int | None:
        async with gateway.async_client(gateway.admin_key) as client:
            told = (await client.get("/admin/policy/shadow")).json()
            return told["predicted"]["calls"] if told["candidate"] else None

    return {await one() for _ in range(20)} == {calls}


async def versions(gateway: LiveGateway) -> set[str]:
    """That twenty new connections find."""

    async def one() -> str:
        async with gateway.async_client(gateway.admin_key) as client:
            version: str = (await client.get("/admin/policy")).json()["policy"]
            return version

    return {await one() for _ in range(20)}


async def test_what_bounds_the_calls_at_a_backend_bounds_those_of_both(
    gateway: LiveGateway,
) -> None:
    await both(gateway)

    async def one() -> int:
        async with gateway.async_client() as client:
            answer = await client.post("/v1/infer/narrow", json=0.05, timeout=120.0)
        assert answer.status_code == 200, answer.text
        most: int = answer.json()["most"]
        return most

    assert max(await asyncio.gather(*(one() for _ in range(40)))) == 3


async def test_a_scrape_tells_of_both_and_no_counter_falls_when_one_is_killed(
    gateway: LiveGateway,
) -> None:
    await both(gateway)
    before = {await calls_that_ended(gateway) for _ in range(10)}
    assert len(before) == 1
    statuses = await asyncio.gather(*(ask_quickly(gateway, gateway.user_key, 2) for _ in range(20)))
    assert statuses == [[200, 200]] * 20
    after = await calls_that_ended(gateway)
    assert after == before.pop() + 40
    count = len(started(gateway))
    os.kill(alive(gateway)[0], signal.SIGKILL)
    await until(lambda: len(started(gateway)) > count, "another is started")
    await both(gateway)
    assert {await calls_that_ended(gateway) for _ in range(10)} == {after}


async def calls_that_ended(gateway: LiveGateway) -> float:
    """By whoever answers a new connection."""
    async with gateway.async_client("") as client:
        families = text_string_to_metric_families((await client.get("/metrics")).text)
    samples = (one for family in families for one in family.samples)
    return sum(one.value for one in samples if one.name == "spillgate_calls_total")


async def test_the_calls_of_both_are_in_flight_at_a_backend(gateway: LiveGateway) -> None:
    await both(gateway)
    calls = [asyncio.create_task(count_slowly(gateway)) for _ in range(8)]
    await until(partial(in_flight_are, gateway, 8), "all are there")
    async with gateway.async_client(gateway.admin_key) as admin:
        drained = (await admin.post("/admin/backends/paced/drain")).json()
        enabled = (await admin.post("/admin/backends/paced/enable")).json()
    assert [one["in_flight"] for one in (drained, enabled)] == [8, 8]
    await asyncio.gather(*calls)
    await until(partial(in_flight_are, gateway, 0), "none is there any more")


async def count_slowly(gateway: LiveGateway) -> None:
    async with gateway.async_client() as client:
        answer = await client.post("/v1/infer/count", json={"to": 5, "pause": 0.3}, timeout=120.0)
        assert answer.status_code == 200, answer.text


async def in_flight_are(gateway: LiveGateway, calls: int) -> bool:
    async with gateway.async_client(gateway.admin_key) as client:
        rows = (await client.get("/admin/backends")).json()["backends"]
    (row,) = (one for one in rows if one["backend"] == "paced")
    told = [one["in_flight"] for one in row["processes"]]
    assert sum(told) == row["in_flight"]
    return (len(told), sum(told)) == (2, calls)


async def test_a_route_by_the_calls_of_a_day_sees_those_of_both(gateway: LiveGateway) -> None:
    await both(gateway)

    async def one() -> str:
        async with gateway.async_client() as client:
            body = {"to": 1, "pause": 0}
            answer = await client.post("/v1/infer/popular", json=body, timeout=120.0)
        assert answer.status_code == 200, answer.text
        return answer.headers["x-spillgate-backend"]

    async def all_go_elsewhere() -> bool:
        return {await one() for _ in range(10)} == {"paced"}

    assert await one() == "home"
    for _ in range(19):
        await one()
    await until(all_go_elsewhere, "both know of twenty")
