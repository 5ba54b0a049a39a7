"""Policies as one of several processes changes them, whose parent puts every policy in force."""

from __future__ import annotations

from gateway.clock import Clock
from gateway.policies.changes import By, PolicyChanges, changed
from gateway.policy.model import Policy
from gateway.storage.base import StorageUnavailable
from gateway.storage.policies.base import PolicyAct, PolicyChange
from gateway.types import ApiError

WITHIN_S = 15.0
"""The parent and all processes have put a policy in force by then, or will not."""
_LOOK_S = 0.02


class FollowedPolicies(PolicyChanges):
    """A change is kept first: the parent, which follows what is kept, puts it in force in all."""

    clock: Clock

    async def begin(self, files: Policy) -> Policy:
        return files

    async def follow(self, clock: Clock) -> None:
        self.clock = clock

    async def reload(self, files: Policy, by: By) -> None:
        """The parent has said so, and has kept it."""
        await self._put(files)

    async def _apply(self, policy: Policy, by: By, expected: str) -> PolicyChange:
        await self._learn_files()
        return await super()._apply(policy, by, expected)

    async def _roll_back(self, version: str, by: By, expected: str) -> PolicyChange:
        await self._learn_files()
        return await super()._roll_back(version, by, expected)

    async def _learn_files(self) -> None:
        """From what was kept when the policy in force came there."""
        version = self._in_force().version
        for one in await self.store.changes(None, self.history):
            if one.what.version == version:
                self._file = one.what.file
                return

    async def _change_to(self, act: PolicyAct, policy: Policy, by: By) -> PolicyChange:
        earlier, number = self._in_force(), await self._newest_number()
        kept = await self.store.add(self._change(act, policy, by), policy.document, number)
        if kept is None:
            raise changed("another one")
        end = self.clock.monotonic() + WITHIN_S
        while self._in_force().version != policy.version:
            if self.clock.monotonic() >= end:
                await self._take_back(earlier, kept)
            await self.clock.sleep(_LOOK_S)
        return kept

    async def _take_back(self, earlier: Policy, kept: PolicyChange) -> None:
        """Raises ApiError 409."""
        try:
            back = self._change("roll_back", earlier, By())
            await self.store.add(back, earlier.document, kept.number)
        except StorageUnavailable:  # whoever serves goes on as before in any case
            pass
        text = "The policy is not in force: a process could not serve it. The log says why."
        raise ApiError(409, "policy_not_served", text)
