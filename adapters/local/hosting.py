"""Workers of one backend, for several processes of a gateway: one of them starts the workers, the
others find them by their sockets."""

from __future__ import annotations

import os

import msgspec

from adapters.base import Clock
from adapters.local.bounds import LocalWorkers
from adapters.local.settings import LocalSettings
from adapters.local.starting import arguments_of
from adapters.settings import SettingError
from local_runtime.client.managed import ManagedWorkers
from local_runtime.client.socket_folder import new_folder
from local_runtime.client.worker_environment import worker_environment
from local_runtime.client.workers import Workers


class LocalHost:
    """Starts the workers, and starts anew what dies; runs no call."""

    def __init__(self, name: str, settings: LocalSettings, clock: Clock) -> None:
        self.folder = ""
        self._name = name
        self._settings = settings
        self._clock = clock
        self._workers: Workers | None = None

    async def start(self) -> None:
        """Returns before a model is loaded. Raises OSError where no folder can be made."""
        settings, self.folder = self._settings, new_folder()
        environment = worker_environment(os.environ, settings.added_environment)
        managed = ManagedWorkers(
            arguments_of(self._name, settings),
            self._clock,
            sockets=self.folder,
            environment=environment,
            python=settings.python,
        )
        self._workers = Workers(self._name, managed, settings.max_message, self._clock)
        self._workers.start()

    async def aclose(self) -> None:
        """Ends the workers, and removes the folder."""
        workers, self._workers = self._workers, None
        if workers is not None:
            await workers.aclose()


def host_of(name: str, settings: LocalSettings, clock: Clock) -> LocalHost | None:
    """None where somebody else has started the workers. Raises SettingError for workers of a
    cluster, whose number follows the calls of a single process."""
    if settings.sockets is not None:
        return None
    if isinstance(settings.workers, LocalWorkers):
        text = "workers between min and max come and go by the calls of a single process"
        raise SettingError(("workers",), text)
    if not isinstance(settings.workers, int):
        text = "a Ray cluster's workers come and go by the calls of a single process"
        raise SettingError(("workers", "engine"), text)
    return LocalHost(name, settings, clock)


def guest_of(settings: LocalSettings, folder: str) -> LocalSettings:
    """The same backend for who finds its workers in ``folder``."""
    return msgspec.structs.replace(
        settings, app=None, sockets=folder, workers=1, env={}, secret_env={}, models={}
    )
