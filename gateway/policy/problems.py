"""What is wrong with a policy, and where: said in full, and without a secret."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

import msgspec

_SHORTEST_REDACTED = 6
"""A shorter secret would blank out ordinary words."""


class Mark(msgspec.Struct, frozen=True):
    """A place in a file; lines and columns begin at 1, and line 0 means the file as a whole."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong, or worth a warning.

    ``path`` is the key path, such as ``backends.burst.idle_timeout`` or ``routes[2].use``.
    ``allowed`` are the values or keys that would have been right, where they can be listed.
    """

    file: str
    line: int = 0
    column: int = 0
    path: str = ""
    message: str
    allowed: tuple[str, ...] = ()

    def __str__(self) -> str:
        place = Mark(self.file, self.line, self.column)
        about = f"{self.path}: " if self.path else ""
        return one_line(f"{place}: {about}{self.message}{self._options()}")

    def _options(self) -> str:
        if not self.allowed:
            return ""
        joint = " " if self.message.endswith("?") else "; "
        return f"{joint}allowed: {', '.join(self.allowed)}"


class PolicyError(Exception):
    """A policy that cannot be used; nothing of it was applied. Every problem found, in order."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda p: (p.file, p.line, p.column)))
        super().__init__(self.problems)

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)


def problem_at(mark: Mark, path: str, message: str, allowed: Iterable[str] = ()) -> Problem:
    return Problem(
        file=mark.file,
        line=mark.line,
        column=mark.column,
        path=path,
        message=message,
        allowed=tuple(allowed),
    )


def redacted(problem: Problem, secrets: Iterable[str]) -> Problem:
    """The problem with every secret of six characters or more blanked out."""
    for secret in secrets:
        if len(secret) >= _SHORTEST_REDACTED:
            problem = _without(problem, secret)
    return problem


def _without(problem: Problem, secret: str) -> Problem:
    return msgspec.structs.replace(
        problem,
        path=problem.path.replace(secret, "***"),
        message=problem.message.replace(secret, "***"),
        allowed=tuple(value.replace(secret, "***") for value in problem.allowed),
    )


def suggestion(word: str, allowed: Iterable[str]) -> str:
    """ "; did you mean X?" when an allowed word is close to it, else nothing."""
    if len(word) > 64:
        return ""
    close = difflib.get_close_matches(word, list(allowed), n=1)
    return f"; did you mean {close[0]}?" if close else ""


def join(path: str, key: str) -> str:
    """The path of a key below ``path``."""
    return f"{path}.{shortened(key)}" if path else shortened(key)


def shortened(text: str, limit: int = 80) -> str:
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def one_line(text: str) -> str:
    """Control characters as escapes, so that one problem is one line of a terminal."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
