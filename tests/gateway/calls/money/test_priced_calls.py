"""A call is charged by the price that held when it was sent, and its row keeps that price."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from adapters.errors import BackendError, FailureClass
from adapters.types import Reply, TokenParts, Usage
from gateway.backends.use_reader import EVERY_S
from gateway.clock import FakeClock
from gateway.storage.base import LedgerRow
from tests.gateway.assembled import POLICY, AssembledGateway, assembled, read

FLEX = "{per_second: 0.001, bills: [start, run], as_of: 2026-11-01, source: test}"
ONE_S_BEFORE_MIDNIGHT = 1_767_225_600.0 + 86_400.0 - 1.0
"""Of the first of January 2026, UTC."""
ONE_S = Usage(exec_s=1.0, reported=True)


def priced(price: str) -> str:
    """The policy of the tests with another price of ``burst``, which alone serves ``any``."""
    text = POLICY.replace(FLEX, price)
    return text.replace("infer, backends: [home, burst]", "infer, backends: [burst]")


def tell(gateway: AssembledGateway, usage: Usage) -> None:
    gateway.fake("burst").tell(Reply(body=b"{}", usage=usage))


async def one(gateway: AssembledGateway, usage: Usage, model: str = "any") -> LedgerRow:
    """The row of a call that used this."""
    tell(gateway, usage)
    state = gateway.call_state(model)
    await gateway.ask(state)
    return await gateway.row(state.call.id)


def figures(row: LedgerRow) -> dict[str, int]:
    assert row.history is not None
    assert row.history.price is not None
    return row.history.price.figures


async def test_a_reload_changes_no_price_of_a_call_under_way(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, priced(FLEX)) as gateway:
        burst = gateway.fake("burst")
        burst.runs_for = 2.0
        state, task = gateway.start("any")
        await gateway.until_asked("burst")
        await gateway.inner.apply(read(priced(FLEX.replace("0.001", "0.1"))))
        await gateway.until_done([task], 1.0)
        row = await gateway.row(state.call.id)
        assert row.cost_nano == round(row.exec_us * 1e-6 * 1_000_000)
        assert figures(row) == {"per_second": 1_000_000}
        burst.runs_for = 0.0
        dearer = await one(gateway, ONE_S)
        assert (dearer.cost_nano, figures(dearer)) == (10**8, {"per_second": 10**8})


async def test_the_price_of_the_day_on_which_a_call_is_sent_is_charged(tmp_path: Path) -> None:
    """Also where the call ends on the next; the hold knows the dearer one."""
    clock = FakeClock(epoch=ONE_S_BEFORE_MIDNIGHT)
    change = (
        "[{per_call: 0.001, as_of: 2026-01-01, source: test}, "
        "{per_call: 0.003, as_of: 2026-01-02, source: test}]"
    )
    async with assembled(tmp_path, clock, priced(change)) as gateway:
        burst = gateway.fake("burst")
        burst.runs_for = 2.0
        state, task = gateway.start("any")
        await gateway.until_asked("burst")
        await gateway.until_done([task], 1.0)
        row = await gateway.row(state.call.id)
        assert (row.cost_nano, row.hold_nano) == (1_000_000, 3_000_000)
        burst.runs_for = 0.0
        assert (await one(gateway, ONE_S)).cost_nano == 3_000_000


async def test_a_tier_is_reached_by_what_the_ledger_has(tmp_path: Path, clock: FakeClock) -> None:
    price = (
        "{per_call: 0.003, by_volume: {of: calls, per: day, "
        "tiers: [{above: 1, per_call: 0.002}, {above: 2, per_call: 0.001}]}}"
    )
    async with assembled(tmp_path, clock, priced(price)) as gateway:
        costs = []
        for _ in range(4):
            row = await one(gateway, ONE_S)
            assert row.hold_nano == 3_000_000
            costs.append(row.cost_nano)
            await _until_read(gateway, len(costs))
        assert costs == [3_000_000, 3_000_000, 2_000_000, 1_000_000]


async def test_a_backend_whose_settings_change_stays_in_its_tier(
    tmp_path: Path, clock: FakeClock
) -> None:
    price = (
        "{per_call: 0.003, by_volume: {of: calls, per: day, tiers: [{above: 0, per_call: 0.001}]}}"
    )
    text = priced(price)
    async with assembled(tmp_path, clock, text) as gateway:
        assert (await one(gateway, ONE_S)).cost_nano == 3_000_000
        await _until_read(gateway, 1)
        before = gateway.fake("burst")
        await gateway.inner.apply(read(text.replace("max_run: 100s", "max_run: 90s")))
        assert gateway.fake("burst") is not before
        assert (await one(gateway, ONE_S)).cost_nano == 1_000_000


async def _until_read(gateway: AssembledGateway, calls: int) -> None:
    """The ledger has settled so many, and was asked again."""
    tariff = gateway.inner.active.backends["burst"].charged.tariff

    def known() -> bool:
        use = tariff.uses.get("day")
        return use is not None and use.counts.get("calls") == calls

    while not known():
        await gateway.clock.advance(EVERY_S)
        await gateway.inner.ledger.rows("any")


async def test_who_asks_for_a_call_sees_each_part_of_its_charge(
    tmp_path: Path, clock: FakeClock
) -> None:
    price = (
        "{per_million_input: 3, per_million_cached_input: 0.3, per_million_output: 15, "
        "as_of: 2026-11-01, source: test}"
    )
    async with assembled(tmp_path, clock, priced(price)) as gateway:
        usage = Usage(input_tokens=1000, output_tokens=10, parts=TokenParts(cached=900))
        row = await one(gateway, usage)
        assert (row.cost_nano, row.cost_basis) == (300_000 + 270_000 + 150_000, "reported")
        async with gateway.client() as client:
            told: dict[str, Any] = (await client.get(f"/usage/{row.id}")).json()
        charged = told["charged_by"]
        assert charged["as_of"] == "2026-11-01"
        assert charged["figures"]["per_million_cached_input"] == 300_000_000
        parts = [(one["item"], one["quantity"], one["cost_nano"]) for one in charged["parts"]]
        assert parts == [
            ("per_million_cached_input", 900, 270_000),
            ("per_million_input", 100, 300_000),
            ("per_million_output", 10, 150_000),
        ]


async def test_more_cached_than_asked_is_bounded_and_marked(
    tmp_path: Path, clock: FakeClock
) -> None:
    price = "{per_million_input: 3, per_million_cached_input: 0.3}"
    async with assembled(tmp_path, clock, priced(price)) as gateway:
        usage = Usage(input_tokens=10, output_tokens=0, parts=TokenParts(cached=10**6))
        row = await one(gateway, usage)
        assert (row.cost_nano, row.cost_basis) == (3000, "estimated")


async def test_images_that_nobody_counted_are_one_and_marked(
    tmp_path: Path, clock: FakeClock
) -> None:
    """Held for is what the model may make."""
    text = priced("{per_image: 0.04}").replace(
        "slo: 2s}\nprices", "slo: 2s, max_images: 3}\nprices"
    )
    async with assembled(tmp_path, clock, text) as gateway:
        guessed = await one(gateway, ONE_S)
        assert (guessed.cost_nano, guessed.cost_basis) == (40_000_000, "estimated")
        assert guessed.hold_nano == 120_000_000
        counted = await one(gateway, msgspec.structs.replace(ONE_S, images=2))
        assert (counted.cost_nano, counted.cost_basis) == (80_000_000, "reported")


async def test_sound_that_nobody_measured_is_estimated_and_marked(
    tmp_path: Path, clock: FakeClock
) -> None:
    text = priced("{per_audio_second: 0.001}")
    async with assembled(tmp_path, clock, text) as gateway:
        guessed = await one(gateway, ONE_S)
        assert (guessed.cost_nano, guessed.cost_basis) == (1_000_000, "estimated")
        assert guessed.hold_nano == 600_000_000
        measured = await one(gateway, msgspec.structs.replace(ONE_S, audio_s=9.5))
        assert (measured.cost_nano, measured.cost_basis) == (9_500_000, "reported")


async def test_what_it_ran_on_decides_where_the_backend_says_it(
    tmp_path: Path, clock: FakeClock
) -> None:
    price = "{per_second: 0.002, by_device: [{device: A100, per_second: 0.001}]}"
    async with assembled(tmp_path, clock, priced(price)) as gateway:
        said = await one(gateway, msgspec.structs.replace(ONE_S, device="A100"))
        assert (said.cost_nano, said.cost_basis) == (1_000_000, "reported")
        assert figures(said) == {"per_second": 1_000_000}
        unsaid = await one(gateway, ONE_S)
        assert (unsaid.cost_nano, unsaid.cost_basis) == (2_000_000, "estimated")
        assert said.hold_nano >= 2 * said.cost_nano


async def test_a_failed_attempt_keeps_the_price_that_it_was_charged_by(
    tmp_path: Path, clock: FakeClock
) -> None:
    """And nothing else of its call's way, which the call's own row has."""
    text = POLICY.replace("idle_timeout: 60s", "idle_timeout: 60s\n    repeat: always")
    route = "routes: [{name: all, use: [burst, home], order: listed}]\n"
    text = (
        text.replace("[home, burst], slo: 2s}\nprices", "[burst, home], slo: 2s}\nprices") + route
    )
    async with assembled(tmp_path, clock, text) as gateway:
        failed = BackendError(FailureClass.WORKER_DIED, "it died", usage=ONE_S)
        gateway.fake("burst").tell(failed)
        gateway.fake("home").tell(Reply(body=b"{}", usage=ONE_S))
        state = gateway.call_state("any")
        await gateway.ask(state)
        row, attempt = await gateway.rows(state.call.id)
        assert (row.backend, figures(row)) == ("home", {"per_hour": 3_600_000_000})
        assert (attempt.kind, attempt.backend, attempt.cost_nano) == ("attempt", "burst", 1_000_000)
        assert figures(attempt) == {"per_second": 1_000_000}
        assert attempt.history is not None
        assert attempt.history.quotes == ()
