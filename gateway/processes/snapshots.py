"""The policy in force, as files of the parent's own: a process that is started anew serves what the
others serve, whatever has become of the user's files since."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from gateway.policy.model import Policy
from gateway.policy.syntax.documents import policy_files
from gateway.policy.syntax.problems import Mark, PolicyError, problem_at

Load = Callable[[Path], Policy]
"""Reads and checks a policy. Raises PolicyError."""

_TRIES = 5


class PolicySnapshots:
    """Copies of the policy at ``source``, of which one is in force at a time, always at
    ``current``."""

    def __init__(self, source: Path) -> None:
        self._source = source
        self._folder = Path(tempfile.mkdtemp(prefix="spillgate-policy-"))
        self._count = 0
        self.current = self._folder / "current"

    def take(self, load: Load) -> tuple[Policy, Path]:
        """The policy as the files say it now, and a copy that says the same. Raises PolicyError,
        whose places are in the user's files."""
        for _ in range(_TRIES):
            policy = load(self._source)
            with contextlib.suppress(OSError, PolicyError):
                copy = self._copy()
                if load(copy).version == policy.version:
                    return policy, copy
        raise PolicyError([problem_at(Mark(str(self._source)), "", "changes while it is read")])

    def write(self, text: str, load: Load) -> tuple[Policy, Path]:
        """The policy of a text, and a copy of it. Raises PolicyError."""
        folder = self._new()
        (folder / "policy.yaml").write_text(text, encoding="utf-8")
        return load(folder), folder

    def put_in_force(self, copy: Path) -> Path | None:
        """At ``current`` from now on; what was there before."""
        before = self._folder / os.readlink(self.current) if self.current.is_symlink() else None
        link = self._folder / "next"
        link.symlink_to(copy.name)
        link.replace(self.current)
        return before

    def close(self) -> None:
        """Removes all."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _copy(self) -> Path:
        folder = self._new()
        for number, file in enumerate(policy_files(self._source)):
            shutil.copyfile(file, folder / f"{number:03}-{file.stem}.yaml")
        return folder

    def _new(self) -> Path:
        self._count += 1
        folder = self._folder / str(self._count)
        folder.mkdir()
        return folder
