"""What one reading of a policy knows, and what it has found so far."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from gateway.policy.syntax.problems import Mark, Problem, problem_at, suggestion

BAD: Any = type("Bad", (), {"__repr__": lambda _: "BAD"})()
"""Stands for a value that could not be read; its problem has been noted."""

OUTSIDE = "must be "
"""So begins what is said of a value that is outside of its bounds."""
MAX_PROBLEMS = 1000
MAX_SUGGESTIONS = 100
"""Each is a search through what is allowed."""


class Findings:
    """What one reading knows and has found.

    ``names``    section -> the names that it defines, for what refers to them.
    ``places``   key path -> where it stands.
    ``secrets``  what no problem may show.
    """

    def __init__(self, environ: Mapping[str, str], names: Mapping[str, Collection[str]]) -> None:
        self.environ = environ
        self.names = names
        self.problems: list[Problem] = []
        self.places: dict[str, Mark] = {}
        self.secrets: set[str] = set()

    def note(
        self, mark: Mark, path: str, message: str, allowed: Collection[str] = (), word: str = ""
    ) -> Any:
        """Notes a problem and returns BAD. Beyond ``MAX_PROBLEMS`` they are no longer kept.

        ``word`` is what stands there instead of something allowed.
        """
        if len(self.problems) < MAX_PROBLEMS:
            if len(self.problems) < MAX_SUGGESTIONS:
                message += suggestion(word, allowed)
            self.problems.append(problem_at(mark, path, message, allowed))
        return BAD

    def attempt(self) -> Findings:
        """A reading whose problems and places are its own until they are ``keep``-ed."""
        other = Findings(self.environ, self.names)
        other.secrets = self.secrets
        return other

    @property
    def is_outside(self) -> bool:
        """A value was of the right kind, and outside of its bounds."""
        return any(one.message.startswith(OUTSIDE) for one in self.problems)

    def keep(self, other: Findings) -> None:
        """Takes over what an attempt has found."""
        self.problems.extend(other.problems[: MAX_PROBLEMS - len(self.problems)])
        self.places.update(other.places)
