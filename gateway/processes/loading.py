"""The policy as the parent reads it: at the start, at a reload, and at a rolling restart."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from adapters.base import Backend, Clock
from gateway.environment import Environment
from gateway.policy.model import BackendSpec, Policy
from gateway.policy.reader import load_with_places
from gateway.policy.syntax.problems import Mark, PolicyError, place_of, problem_at
from gateway.preflight.startable import check_startable
from gateway.processes.hosts import Hosts
from gateway.processes.unshared import check_shareable


class PolicyLoader:
    """``make`` makes a backend, which is thrown away; ``hosts`` are the workers that run."""

    def __init__(self, make: Callable[[BackendSpec], Backend], clock: Clock, hosts: Hosts) -> None:
        self._make = make
        self._clock = clock
        self._hosts = hosts
        self.in_force: Policy | None = None
        """What the next one is held against."""

    def anew(self, path: Path) -> Policy:
        """For processes that start: where it listens and what it stores in stays as it is. Raises
        PolicyError."""
        policy, places = self._load(path)
        known = self.in_force
        if known is not None:
            fixed = {
                "server.listen": known.server.listen != policy.server.listen,
                "server.data": known.server.data != policy.server.data,
                "store": known.store != policy.store,
            }
            _refuse(fixed, places, "a change of it takes a restart")
        return policy

    def again(self, path: Path) -> Policy:
        """For processes that run: their settings as servers stay as well, and so do the workers.
        Raises PolicyError."""
        policy, places = self._load(path)
        known = self.in_force
        assert known is not None
        fixed = {
            "server": known.server != policy.server,
            "store": known.store != policy.store,
        }
        _refuse(fixed, places, "a change of it takes a restart")
        self._hosts.check(policy, places)
        return policy

    def _load(self, path: Path) -> tuple[Policy, Mapping[str, Mark]]:
        policy, places = load_with_places(path, Environment(os.environ))
        check_startable(policy, places, self._make, known=self.in_force)
        check_shareable(policy, places, self._clock)
        return policy, places


def _refuse(changed: Mapping[str, bool], places: Mapping[str, Mark], message: str) -> None:
    found = [
        problem_at(place_of(path, places), path, message)
        for path, differs in changed.items()
        if differs
    ]
    if found:
        raise PolicyError(found)
