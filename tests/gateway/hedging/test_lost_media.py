"""What is bought by the image or by the second of sound is paid for by an attempt that nobody waits
for any more, if it may have run."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from adapters.types import Reply, Usage
from gateway.clock import FakeClock
from tests.gateway.assembled import NO_OUTPUT, AssembledGateway, assembled
from tests.gateway.hedging.calls import asked, nothing_is_left, policy, runs

IMAGE = 40_000_000
PRICES = """prices:
  image: {per_image: 0.04, as_of: 2026-11-01, source: test}
  sound: {per_audio_second: 0.001, as_of: 2026-11-01, source: test}
"""


def media(price: str) -> str:
    """The policy by which both backends sell it."""
    return policy(price, route=", repeat: always, idempotent: true").replace("prices:\n", PRICES)


COSTS = {
    "an image where nobody says how many": ("image", 0, IMAGE),
    "all images that were asked for": ("image", 3, 3 * IMAGE),
    "the sound that its body may hold": ("sound", 0, 2_000_000),
}


@pytest.mark.parametrize("loser", ["first", "second"])
@pytest.mark.parametrize(("price", "images", "cost"), COSTS.values(), ids=list(COSTS))
async def test_a_loser_is_charged_for_what_was_asked_of_it(
    price: str, images: int, cost: int, loser: str, tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, media(price)) as gateway:
        winner = "first" if loser == "second" else "second"
        runs(gateway, **{loser: 60.0, winner: 3.0})
        gateway.fake(winner).tell(Reply(usage=Usage(images=1, audio_s=2.0)))
        wanted = msgspec.structs.replace(NO_OUTPUT, images=images)
        state, task = gateway.start("infer", body=b"x" * 8000, preferences=wanted)
        await gateway.until_done([task], step=0.25)
        call, lost = await nothing_is_left(gateway, state.call.id)
        assert (call.backend, lost.backend, lost.error) == (winner, loser, "hedged")
        assert (lost.cost_nano, lost.cost_basis) == (cost, "estimated")


async def test_a_loser_that_waited_in_the_platforms_queue_costs_nothing(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, media("image")) as gateway:
        runs(gateway, first=60.0, second=1.0)
        gateway.fake("second").tell(Reply(usage=Usage(images=1)))
        state, task = gateway.start("infer")
        await gateway.until_asked("first")
        queued(gateway, "first")
        await gateway.until_done([task], step=0.25)
        [call] = await nothing_is_left(gateway, state.call.id)
        assert (call.backend, call.cost_nano, asked(gateway)) == ("second", IMAGE, [1, 1, 0])


def queued(gateway: AssembledGateway, backend: str) -> None:
    """The platform says that the call has waited there till now, and does two seconds longer."""
    [call] = gateway.fake(backend).calls
    call.progress.queued_until = gateway.clock.monotonic() + 2.0


async def test_a_call_that_is_broken_off_pays_for_the_images_it_asked_for(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, media("image")) as gateway:
        runs(gateway, first=60.0)
        wanted = msgspec.structs.replace(NO_OUTPUT, images=2)
        state, task = gateway.start("infer", preferences=wanted)
        await gateway.until_asked("first")
        task.cancel()
        await gateway.until_done([task], step=0.25)
        [call] = await nothing_is_left(gateway, state.call.id)
        assert (call.outcome, call.cost_nano) == ("cancelled", 2 * IMAGE)
        assert call.cost_basis == "estimated"
