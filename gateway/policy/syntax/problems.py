"""What is wrong with a policy, and where: said in full, and without a secret."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Collection, Iterable, Mapping

import msgspec

from gateway.log_lines import one_line

_SHORTEST_REDACTED = 6
"""A shorter secret would blank out ordinary words."""
_ALLOWED_TOLD = 50
"""Of allowed words; suggestions look no further than four times as many."""


class Mark(msgspec.Struct, frozen=True):
    """A place in a file; lines and columns begin at 1, and line 0 means the file as a whole."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file


_WHOLE = Mark("policy")


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
    more: int = 0
    """How many of the allowed are left out."""

    def __str__(self) -> str:
        place = Mark(self.file, self.line, self.column)
        about = f"{self.path}: " if self.path else ""
        return one_line(f"{place}: {about}{self.message}{self._options()}")

    def _options(self) -> str:
        if not self.allowed:
            return ""
        joint = " " if self.message.endswith("?") else "; "
        rest = f" and {self.more} more" if self.more else ""
        return f"{joint}allowed: {', '.join(self.allowed)}{rest}"


class PolicyError(Exception):
    """A policy that cannot be used; nothing of it was applied. Every problem found, in order."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda p: (p.file, p.line, p.column)))
        super().__init__(self.problems)

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)


def problem_at(mark: Mark, path: str, message: str, allowed: Collection[str] = ()) -> Problem:
    """A problem at a place; ``allowed`` are the words that would have done."""
    return Problem(
        file=mark.file,
        line=mark.line,
        column=mark.column,
        path=path,
        message=message,
        allowed=tuple(itertools.islice(allowed, _ALLOWED_TOLD)),
        more=max(0, len(allowed) - _ALLOWED_TOLD),
    )


def place_of(path: str, places: Mapping[str, Mark]) -> Mark:
    """Where a key stands, or the nearest one around it that the document has."""
    while path:
        if (mark := places.get(path)) is not None:
            return mark
        path = path[: max(path.rfind("."), path.rfind("["), 0)]
    return _WHOLE


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


def suggestion(word: str, allowed: Collection[str]) -> str:
    """ "; did you mean X?" when an allowed word is close to it, else nothing."""
    if not word or len(word) > 64:
        return ""
    near = itertools.islice(allowed, 4 * _ALLOWED_TOLD)
    close = difflib.get_close_matches(word, list(near), n=1)
    return f"; did you mean {close[0]}?" if close else ""


def join(path: str, key: str) -> str:
    """The path of a key below ``path``."""
    return f"{path}.{shortened(key)}" if path else shortened(key)


def shortened(text: str, limit: int = 80) -> str:
    """The text, cut to ``limit`` characters, three of them dots."""
    return text if len(text) <= limit else f"{text[: limit - 3]}..."
