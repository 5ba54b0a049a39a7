"""The local workers that the serving processes share: started once, by their parent."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from adapters import load_kind
from adapters.base import Clock, SharesWorkers, WorkersHost
from adapters.settings import SettingError
from gateway.policy.model import BackendSpec, Policy
from gateway.policy.syntax.problems import Mark, PolicyError, join, place_of, problem_at

_RESTART = (
    "its workers are new, or are started otherwise than those that run: that takes a rolling "
    "restart, SIGUSR2"
)


class _Hosted(msgspec.Struct, frozen=True):
    spec: BackendSpec
    host: WorkersHost


class Hosts:
    """Those of the policies for which ``adopt`` was called; what these have in common is one
    host's. After a change both run, until ``keep_only`` ends what is of no use any more."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._hosted: list[_Hosted] = []

    async def adopt(self, policy: Policy) -> dict[str, str]:
        """Starts what the policy needs and does not run. Backend -> folder of its workers' sockets.
        Raises OSError where one cannot be started."""
        folders: dict[str, str] = {}
        for name, spec in policy.backends.items():
            host = self._of(spec)
            if host is None and (host := host_of(spec, self._clock)) is not None:
                await host.start()
                self._hosted.append(_Hosted(spec, host))
            if host is not None:
                folders[name] = host.folder
        return folders

    def _of(self, spec: BackendSpec) -> WorkersHost | None:
        found = (one.host for one in self._hosted if _has_same_workers(one.spec, spec))
        return next(found, None)

    def check(self, policy: Policy, places: Mapping[str, Mark]) -> None:
        """Raises PolicyError where the policy needs workers that do not run."""
        lacking = [
            join("backends", name)
            for name, spec in policy.backends.items()
            if self._of(spec) is None and host_of(spec, self._clock) is not None
        ]
        if lacking:
            raise PolicyError(
                problem_at(place_of(path, places), path, _RESTART) for path in lacking
            )

    async def keep_only(self, policy: Policy) -> None:
        """Ends those that the policy does not have."""
        specs = tuple(policy.backends.values())
        kept = [
            one for one in self._hosted if any(_has_same_workers(one.spec, spec) for spec in specs)
        ]
        unused = [one for one in self._hosted if one not in kept]
        self._hosted = kept
        for one in unused:
            await one.host.aclose()

    async def aclose(self) -> None:
        """Ends all."""
        hosted, self._hosted = self._hosted, []
        for one in hosted:
            await one.host.aclose()


class Guests:
    """Backends as a serving process has them, whose workers were started by its parent."""

    def __init__(self, folders: dict[str, str], clock: Clock) -> None:
        """``folders``: backend -> where the sockets of its workers are."""
        self._folders = folders
        self._clock = clock
        self._first: dict[str, BackendSpec] = {}

    def settings(self, spec: BackendSpec) -> msgspec.Struct:
        """What the backend is made with here. Raises SettingError where nobody has started its
        workers, or the parent has started others than the policy says now."""
        settings: msgspec.Struct = spec.settings
        kind = load_kind(spec.kind)
        if not isinstance(kind, SharesWorkers) or host_of(spec, self._clock) is None:
            return settings
        folder = self._folders.get(spec.name)
        first = self._first.setdefault(spec.name, spec)
        if folder is None or not _has_same_workers(first, spec):
            raise SettingError((), _RESTART)
        return kind.guest(settings, folder)


def host_of(spec: BackendSpec, clock: Clock) -> WorkersHost | None:
    """Not started yet; None of a backend that starts no workers. Raises SettingError where these
    cannot be shared."""
    kind = load_kind(spec.kind)
    return kind.host(spec.name, spec.settings, clock) if isinstance(kind, SharesWorkers) else None


def _has_same_workers(one: BackendSpec, other: BackendSpec) -> bool:
    """What a policy says of a backend beside them may change."""
    return (one.name, one.kind, one.settings) == (other.name, other.kind, other.settings)
