"""The least workers that platforms are told to keep: set, set again, and taken back."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable

import msgspec

from adapters.errors import BackendError
from gateway.backends.live import LiveBackend
from gateway.clock import Clock
from gateway.warm.kept import KeptWorkers

log = logging.getLogger("spillgate")

AGAIN_S = 600.0
"""Platforms forget a minimum at the next deploy, so it is set again."""
_RETRY_S = 30.0
"""After a platform could not be told."""
_LEAVE_S = 10.0
"""The longest that the end of the gateway waits for platforms to take minimums back."""


class _Told(msgspec.Struct, frozen=True):
    workers: int
    at: float
    """Monotonic seconds; minus infinity: by a process before this one."""
    backend: LiveBackend | None
    """Through which it was told; None: by a process before this one."""


class WorkerMinimums:
    """What each backend's platform was told last. Written down before a platform is told to keep
    any, and struck off when it has taken that back."""

    def __init__(
        self,
        *,
        kept: KeptWorkers,
        clock: Clock,
        told: Callable[[str, int], None] = lambda backend, workers: None,
    ) -> None:
        """``told`` is called when a platform was told to keep so many."""
        self._has_told = told
        self._kept = kept
        self._clock = clock
        before = float("-inf")
        self._told = {name: _Told(n, before, None) for name, n in kept.read().items()}
        self._busy: dict[str, asyncio.Lock] = {}
        self._retry_at: dict[str, float] = {}
        """Of those whose platforms could not be told."""
        self._doubted: set[str] = set()

    def kept(self) -> dict[str, int]:
        """Backend -> workers that its platform keeps for us, as far as is known."""
        return {name: told.workers for name, told in self._told.items() if told.workers}

    def is_due(self, name: str, workers: int, *, pause_s: float = 0.0) -> bool:
        """Whether the platform must be told to keep so many; no sooner than ``pause_s`` after it
        was told of others."""
        now = self._clock.monotonic()
        busy = self._busy.get(name)
        if (busy is not None and busy.locked()) or now < self._retry_at.get(name, now):
            return False
        if name in self._doubted:
            return True
        told = self._told.get(name)
        if told is None:
            return workers > 0
        if told.workers != workers:
            return now - told.at >= pause_s
        return workers > 0 and now - told.at >= AGAIN_S

    def fails(self, name: str) -> bool:
        """The platform could not be told when it was tried last."""
        return name in self._retry_at

    def doubt(self, names: Iterable[str]) -> None:
        """Another gateway may have told their platforms something: they are due, whatever they
        should keep."""
        self._doubted.update(names)

    async def forget(self, name: str) -> None:
        """Another gateway tells the platform from now on what to keep, and takes it back."""
        told = self._told.pop(name, None)
        if told is not None and told.backend is not None:
            told.backend.workers.held.tell(0, self._clock.monotonic())
        self._has_told(name, 0)
        with contextlib.suppress(OSError):  # it is taken back at the next start, then
            await self._write(self.kept())

    async def tell(self, backend: LiveBackend, workers: int) -> bool:
        """Tells the platform of a backend that can be told; False where that failed: it is due
        again in half a minute."""
        name, scalable = backend.name, backend.scalable
        assert scalable is not None
        async with self._busy.setdefault(name, asyncio.Lock()):
            try:
                if workers:
                    await self._write({**self.kept(), name: workers})
                    # It may be told although no answer comes back.
                    self._told[name] = _Told(workers, float("-inf"), backend)
                await scalable.keep_workers(workers)
            except (BackendError, OSError) as error:
                self._retry_at[name] = self._clock.monotonic() + _RETRY_S
                log.warning("telling %s to keep %d workers failed: %s", name, workers, error)
                return False
            self._retry_at.pop(name, None)
            self._doubted.discard(name)
            now = self._clock.monotonic()
            backend.workers.held.tell(workers, now)
            self._has_told(name, workers)
            self._told[name] = _Told(workers, now, backend)
            if not workers:
                del self._told[name]
                with contextlib.suppress(OSError):  # it is taken back once more at the next start
                    await self._write(self.kept())
            return True

    async def _write(self, kept: dict[str, int]) -> None:
        await asyncio.to_thread(self._kept.write, kept)

    async def replace(self, old: LiveBackend, new: LiveBackend | None) -> None:
        """A reload put ``new`` in the place of ``old``, or nothing: what was set by the old one's
        settings is taken back, unless the new one reaches the same place with them."""
        told = self._told.get(old.name)
        if told is None or old.scalable is None or told.backend not in (old, None):
            return
        if new is None or new.spec.kind != old.spec.kind or new.spec.settings != old.spec.settings:
            await self.tell(old, 0)
        else:
            new.workers.held = old.workers.held

    async def leave(self, backends: dict[str, LiveBackend]) -> None:
        """The gateway ends: takes back all that it set, within ten seconds. What was not taken
        back then is still written down."""
        left = [
            self.tell(backends[name], 0)
            for name in self.kept()
            if name in backends and backends[name].scalable is not None
        ]
        if not left:
            return
        try:
            async with asyncio.timeout(_LEAVE_S):
                await asyncio.gather(*left)
        except TimeoutError:
            log.error("platforms still keep workers: %s", self.kept())
