"""A seed, run and judged."""

from __future__ import annotations

import msgspec

from tests.simulation.invariants import violations
from tests.simulation.loop import Stuck
from tests.simulation.world import World


class Result(msgspec.Struct, frozen=True):
    """What became of one seed."""

    seed: int
    digest: str
    """Of all that happened."""
    violations: tuple[str, ...]
    figures: dict[str, int]
    notes: tuple[str, ...] = ()


def run(seed: int, *, verbose: bool = False) -> Result:
    """Plays it to its end."""
    world = World(seed, verbose=verbose)
    try:
        try:
            world.play()
            found = violations(world)
            world.loop.run_until_complete(world.end())
            found += world.loop.trouble
        except Stuck as stuck:
            found = [f"stuck: {stuck}"]
        return Result(seed, world.digest, tuple(found), world.figures(), tuple(world.notes))
    finally:
        world.dispose()
