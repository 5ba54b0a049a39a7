"""One of several processes keeps a change, and its parent puts it in force: in all, or in none."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

import pytest

from gateway.clock import FakeClock
from gateway.policies.changes import By
from gateway.policies.followed import WITHIN_S, FollowedPolicies
from gateway.policy.model import Policy
from gateway.storage.policies.base import NewChange
from gateway.storage.policies.memory import MemoryPolicies
from gateway.types import ApiError
from tests.gateway.assembled import POLICY, read

ROOT = By("key:root", "127.0.0.1")
QUICKER = read(POLICY.replace("slo: 20s", "slo: 10s"))


class Process(NamedTuple):
    """One that serves what its parent has started it with."""

    policies: FollowedPolicies
    store: MemoryPolicies
    serves: list[Policy]

    def put(self, policy: Policy) -> None:
        """As the parent does."""
        self.serves[:] = [policy]


async def process(clock: FakeClock) -> Process:
    serves, store = [read()], MemoryPolicies(clock.time)
    start = NewChange(act="start", version=read().version, file="files")
    await store.add(start, read().document, 0)

    async def put(policy: Policy) -> None:
        serves[:] = [policy]

    policies = FollowedPolicies(store, in_force=lambda: serves[0], put=put, read=read)
    await policies.follow(clock)
    return Process(policies, store, serves)


async def test_what_the_parent_puts_in_force_is_applied(clock: FakeClock) -> None:
    one = await process(clock)
    asked = asyncio.ensure_future(one.policies.apply(QUICKER, ROOT))
    await clock.advance(1.0)
    assert not asked.done()
    one.put(QUICKER)
    await clock.advance(1.0)
    kept = await asked
    assert (kept.what.version, kept.what.file) == (QUICKER.version, "files")
    assert kept.what.actor == "key:root"


async def test_what_the_parent_cannot_put_in_force_is_taken_back(clock: FakeClock) -> None:
    one = await process(clock)
    asked = asyncio.ensure_future(one.policies.apply(QUICKER, ROOT))
    for _ in range(40):
        await clock.advance(WITHIN_S / 30)
    with pytest.raises(ApiError, match="not in force"):
        await asked
    newest = await one.store.newest("files")
    assert newest is not None
    assert (newest.what.act, newest.what.version) == ("roll_back", read().version)
