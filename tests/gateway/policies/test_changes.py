"""Gateways that share a ledger serve the policy that was applied last, and keep it over restarts,
until their files say something else."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from functools import partial
from pathlib import Path

import pytest

from gateway.clock import FakeClock
from gateway.policies.changes import LOOK_EVERY_S, By, PolicyChanges
from gateway.policy.model import Policy
from gateway.storage.base import StorageUnavailable
from gateway.storage.policies.base import NewChange, PolicyChange
from gateway.storage.policies.memory import MemoryPolicies
from gateway.types import ApiError
from tests.gateway.assembled import POLICY, AssembledGateway, assembled, read
from tests.waiting import until

ROOT = By("key:root", "127.0.0.1")
SLOWER = POLICY.replace(
    "far: {task: chat, backends: [burst], slo: 20s}",
    "far: {task: chat, backends: [burst], slo: 30s}",
)
SLOWEST = SLOWER.replace("slo: 30s", "slo: 40s")


@contextlib.asynccontextmanager
async def serving(
    folder: Path, clock: FakeClock, store: MemoryPolicies, text: str = POLICY
) -> AsyncIterator[AssembledGateway]:
    folder.mkdir(exist_ok=True)
    async with assembled(folder, clock, text, policies=store) as gateway:
        yield gateway


def in_force(gateway: AssembledGateway) -> str:
    return gateway.inner.active.policy.version


async def look(gateway: AssembledGateway) -> None:
    """What following does, once and at once."""
    changes = gateway.inner.policies
    assert isinstance(changes, PolicyChanges)
    await changes.look()


async def acts(store: MemoryPolicies) -> list[tuple[str, str]]:
    changes = [one.what for one in await store.changes(None, 100)]
    return [(one.act, one.version) for one in reversed(changes)]


async def test_what_is_applied_stays_over_a_restart(tmp_path: Path, clock: FakeClock) -> None:
    store = MemoryPolicies(clock.time)
    slower = read(SLOWER)
    async with serving(tmp_path, clock, store) as gateway:
        first = in_force(gateway)
        kept = await gateway.inner.policies.apply(slower, ROOT)
        assert (kept.what.actor, kept.what.file) == ("key:root", first)
    async with serving(tmp_path, clock, store) as gateway:
        assert in_force(gateway) == slower.version
        assert gateway.inner.active.policy.models["far"].slo == 30.0
    assert await acts(store) == [("start", first), ("apply", slower.version)]


async def test_files_that_say_something_new_go_before_what_was_applied(
    tmp_path: Path, clock: FakeClock
) -> None:
    store = MemoryPolicies(clock.time)
    async with serving(tmp_path, clock, store) as gateway:
        await gateway.inner.policies.apply(read(SLOWER), ROOT)
    async with serving(tmp_path, clock, store, SLOWEST) as gateway:
        assert in_force(gateway) == read(SLOWEST).version
    assert (await acts(store))[-1] == ("start", read(SLOWEST).version)


async def test_a_reload_of_files_that_are_as_they_were_leaves_what_was_applied(
    tmp_path: Path, clock: FakeClock
) -> None:
    store = MemoryPolicies(clock.time)
    async with serving(tmp_path, clock, store) as gateway:
        await gateway.inner.policies.apply(read(SLOWER), ROOT)
        await gateway.inner.reload()
        assert in_force(gateway) == read(SLOWER).version
        gateway.inner.load_policy = lambda: read(SLOWEST)
        await gateway.inner.reload()
        assert in_force(gateway) == read(SLOWEST).version
    newest = await store.newest()
    assert newest is not None
    assert (newest.what.act, newest.what.actor) == ("reload", "signal:SIGHUP")


async def test_another_gateway_follows_where_its_files_say_the_same(
    tmp_path: Path, clock: FakeClock
) -> None:
    store = MemoryPolicies(clock.time)
    async with (
        serving(tmp_path / "one", clock, store) as one,
        serving(tmp_path / "two", clock, store) as two,
        serving(tmp_path / "other", clock, store, SLOWEST) as other,
    ):
        await one.inner.policies.apply(read(SLOWER), ROOT)
        await clock.advance(LOOK_EVERY_S)
        await until(lambda: in_force(two) == read(SLOWER).version, "the other one follows")
        assert in_force(other) == read(SLOWEST).version
        await two.inner.policies.roll_back("", ROOT)
        await clock.advance(LOOK_EVERY_S)
        await until(lambda: in_force(one) == read().version, "the first one follows")


async def test_two_roll_backs_go_back_two_and_any_version_can_be_named(
    tmp_path: Path, clock: FakeClock
) -> None:
    store = MemoryPolicies(clock.time)
    async with serving(tmp_path, clock, store) as gateway:
        policies = gateway.inner.policies
        for text in (SLOWER, SLOWEST):
            await policies.apply(read(text), ROOT)
        for text in (SLOWER, POLICY):
            await policies.roll_back("", ROOT)
            assert in_force(gateway) == read(text).version
        await refused(409, "no_earlier_policy", gateway)
        await policies.roll_back(read(SLOWEST).version, ROOT)
        assert in_force(gateway) == read(SLOWEST).version
        await refused(404, "policy_not_found", gateway, "0123456789ab")


async def refused(status: int, code: str, gateway: AssembledGateway, version: str = "") -> None:
    with pytest.raises(ApiError) as caught:
        await gateway.inner.policies.roll_back(version, ROOT)
    assert (caught.value.status, caught.value.code) == (status, code)


async def test_a_change_that_was_made_with_another_policy_in_sight_is_refused(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with serving(tmp_path, clock, MemoryPolicies(clock.time)) as gateway:
        with pytest.raises(ApiError, match="changed meanwhile"):
            await gateway.inner.policies.apply(read(SLOWER), ROOT, "0123456789ab")
        assert in_force(gateway) == read().version


class Overtaken(MemoryPolicies):
    """Another gateway is always a moment faster with its change, once ``overtakes``."""

    overtakes = False

    async def add(self, change: NewChange, document: str, after: int) -> PolicyChange | None:
        if self.overtakes:
            await super().add(change_of(SLOWEST, change.file), read(SLOWEST).document, after)
        return await super().add(change, document, after)


def change_of(text: str, file: str) -> NewChange:
    return NewChange(act="apply", version=read(text).version, file=file)


async def test_of_two_changes_at_once_one_is_in_force_everywhere(
    tmp_path: Path, clock: FakeClock
) -> None:
    store = Overtaken(clock.time)
    async with serving(tmp_path, clock, store) as gateway:
        store.overtakes = True
        with pytest.raises(ApiError, match="changed meanwhile"):
            await gateway.inner.policies.apply(read(SLOWER), ROOT)
        assert in_force(gateway) == read().version
        await look(gateway)
        assert in_force(gateway) == read(SLOWEST).version


class Lost(MemoryPolicies):
    """Cannot be written while ``lost``."""

    lost = False

    async def add(self, change: NewChange, document: str, after: int) -> PolicyChange | None:
        if self.lost:
            raise StorageUnavailable("the disk is full")
        return await super().add(change, document, after)


async def test_what_cannot_be_kept_is_not_in_force(tmp_path: Path, clock: FakeClock) -> None:
    store = Lost(clock.time)
    async with serving(tmp_path, clock, store) as gateway:
        store.lost = True
        with pytest.raises(StorageUnavailable):
            await gateway.inner.policies.apply(read(SLOWER), ROOT)
        assert in_force(gateway) == read().version


async def test_what_the_files_say_is_in_force_though_it_can_be_kept_later_only(
    tmp_path: Path, clock: FakeClock
) -> None:
    store = Lost(clock.time)
    async with serving(tmp_path, clock, store) as gateway:
        store.lost = True
        gateway.inner.load_policy = lambda: read(SLOWER)
        await gateway.inner.reload()
        assert in_force(gateway) == read(SLOWER).version
        store.lost = False
        await look(gateway)
    assert await acts(store) == [("start", read().version), ("reload", read(SLOWER).version)]


async def test_what_cannot_be_served_here_leaves_the_files_in_force(
    tmp_path: Path, clock: FakeClock
) -> None:
    """And is not taken back elsewhere by that."""
    store = MemoryPolicies(clock.time)
    async with serving(tmp_path, clock, store) as gateway:
        await gateway.inner.policies.apply(read(SLOWER), ROOT)
    unfit = NewChange(act="apply", version="0123456789ab", file=read().version)
    await store.add(unfit, "version: 1\nbackends: {home: {kind: gone}}\n", 2)
    async with serving(tmp_path, clock, store) as gateway:
        assert in_force(gateway) == read().version
        await look(gateway)
    assert (await acts(store))[-1] == ("apply", "0123456789ab")


def test_what_is_kept_of_a_policy_says_the_same_and_no_secret() -> None:
    text = (
        POLICY
        + """
webhooks:
  endpoints:
    ops: {url: "https://example.com/hook", events: [budget], secret: "${HOOK_SECRET}"}
# whsec_in_a_comment
"""
    )
    secrets: Mapping[str, str] = {"HOOK_SECRET": "whsec_" + "c2VjcmV0" * 5}
    policy: Policy = read(text, secrets)
    assert "${HOOK_SECRET}" in policy.document
    assert "whsec_" not in policy.document
    again = read(policy.document, secrets)
    assert (again.version, again.document) == (policy.version, policy.document)


FIRST, SECOND, APPLIED, LATER = (POLICY, SLOWEST, SLOWER, SLOWER.replace("slo: 30s", "slo: 50s"))
"""What the files say, and what is applied over them."""
ORDERS = {
    "applied, restarted": (["apply", "restart"], APPLIED),
    "applied, edited, reloaded": (["apply", "edit", "reload"], SECOND),
    "applied, edited, restarted": (["apply", "edit", "restart"], SECOND),
    "an edit that was never taken": (["apply", "edit", "revert", "restart"], APPLIED),
    "an edit and back, reloaded": (["apply", "edit", "reload", "revert", "reload"], FIRST),
    "an edit reloaded, back while down": (["apply", "edit", "reload", "revert", "restart"], FIRST),
    "an edit and back, each while down": (["apply", "edit", "restart", "revert", "restart"], FIRST),
    "the same, and once more": (
        ["apply", "edit", "restart", "revert", "restart", "restart"],
        FIRST,
    ),
    "an edit that is served twice, and back": (
        ["apply", "edit", "restart", "restart", "revert", "restart"],
        FIRST,
    ),
    "applied over the edit, and back": (
        ["apply", "edit", "restart", "apply_later", "restart", "revert", "restart"],
        FIRST,
    ),
    "over the edit, back, and there again": (
        ["edit", "reload", "apply_later", "revert", "restart", "edit", "restart"],
        SECOND,
    ),
    "back, and applied again": (
        ["apply", "edit", "restart", "revert", "restart", "apply", "restart"],
        APPLIED,
    ),
    "applied, rolled back, restarted": (["apply", "roll_back", "restart"], FIRST),
    "applied elsewhere a moment before the edit": (
        ["elsewhere", "edit", "reload", "revert", "restart"],
        FIRST,
    ),
    "applied elsewhere meanwhile, and back": (
        ["apply", "edit", "restart", "elsewhere", "restart", "revert", "restart"],
        LATER,
    ),
}


@pytest.mark.parametrize("name", ORDERS)
async def test_what_was_overruled_by_changed_files_does_not_return_with_these(
    name: str, tmp_path: Path, clock: FakeClock
) -> None:
    """But what others have applied over them since holds here as it does there."""
    steps, expected = ORDERS[name]
    store, files = MemoryPolicies(clock.time), FIRST
    async with serving(tmp_path / "other", clock, store) as other:
        pending, left = serving(tmp_path / "one", clock, store, files), steps[:]
        while left:
            async with pending as gateway:
                policies = gateway.inner.policies
                while left and (step := left.pop(0)) != "restart":
                    if step in ("edit", "revert"):
                        files = SECOND if step == "edit" else FIRST
                        gateway.inner.load_policy = partial(read, files)
                    elif step == "reload":
                        await gateway.inner.reload()
                    elif step == "roll_back":
                        await policies.roll_back("", ROOT)
                    elif step == "elsewhere":
                        await other.inner.policies.apply(read(LATER), ROOT)
                    else:
                        applied = APPLIED if step == "apply" else LATER
                        await policies.apply(read(applied), ROOT)
                found = in_force(gateway)
            pending = serving(tmp_path / "one", clock, store, files)
        if steps[-1] == "restart":
            async with pending as gateway:
                found = in_force(gateway)
    assert found == read(expected).version
