"""A policy that is tried beside the one in force, in all processes at once."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable

import msgspec

from gateway.active_policy import ActivePolicy
from gateway.policy.syntax.problems import PolicyError
from gateway.processes.messages import ToParent, Tried
from gateway.service import Gateway
from gateway.together import ToldTrial
from gateway.trials.trial import TrialPolicy, as_shared
from gateway.types import ApiError

log = logging.getLogger("spillgate")


class TrialsOfAll:
    """One process's part of it."""

    def __init__(self, gateway: Gateway, say: Callable[[ToParent], None]) -> None:
        self._gateway = gateway
        self._say = say
        self._in_turn = asyncio.Lock()
        self._told: ToldTrial | None = None
        """Of which all were told, and of no end of it."""

    async def hear(self, tried: Tried) -> None:
        """It begins here too, where the policy is in force beside which it is tried, or once that
        is; or it ends."""
        trial = tried.trial
        async with self._in_turn:
            if trial.document:
                self._told = trial
                await self._begin_told()
            else:
                if self._told is not None and trial.ends(self._told.since):
                    self._told = None
                await self._end(trial)

    async def _begin_told(self) -> None:
        trial = self._told
        if trial is not None and self._gateway.active.policy.version == trial.in_force:
            await self._begin(trial)

    async def _begin(self, trial: ToldTrial) -> None:
        percent, since = trial.percent, trial.since
        try:
            read = await asyncio.to_thread(self._gateway.policies.read, trial.document)
            policy = as_shared(read, self._gateway.active.policy)
            await self._gateway.exchange(
                lambda active: TrialPolicy(active, policy, percent=percent, since=since)
            )
        except (PolicyError, ApiError) as error:
            log.error("a policy is tried in other processes, and not in this one: %s", error)
            await self._end(ToldTrial())

    async def _end(self, ended: ToldTrial) -> None:
        active = self._gateway.active
        if isinstance(active, TrialPolicy) and ended.ends(active.since):
            await self._gateway.exchange(
                lambda active: ActivePolicy(active.policy, active.backends)
            )

    @contextlib.asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Where a trial ends within, it is to begin in no process that is started later. What all
        were told of meanwhile begins behind it."""
        before = self._gateway.active
        yield
        async with self._in_turn:
            if isinstance(self._gateway.active, TrialPolicy):
                return
            if isinstance(before, TrialPolicy):
                self._say(Tried(ToldTrial(since=before.since)))
                if self._told is not None and self._told.since == before.since:
                    self._told = None
            await self._begin_told()

    def report(self) -> bytes:
        """What was counted here; empty where nothing is tried."""
        active = self._gateway.active
        if not isinstance(active, TrialPolicy):
            return b""
        return msgspec.msgpack.encode(active.comparison.counts)
