"""Where secrets come from: the environment, or a file that it names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

_SUFFIX = "_FILE"
_FILE = "file:"


class Environment(Mapping[str, str]):
    """``NAME`` is what the variable says; where it is not set and ``NAME_FILE`` is, what the file
    of that name holds; ``file:/PATH`` is what that file holds. Files are read when they are asked
    for: by one of these for each reading of a policy, what was renewed is seen.

    ``files`` are those that were read: variable -> file.
    """

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables
        self.files: dict[str, str] = {}

    def __getitem__(self, name: str) -> str:
        """Raises KeyError where it is not set, OSError where the file cannot be read."""
        if name.startswith(_FILE):
            return self._read(name, name.removeprefix(_FILE))
        if name in self._variables or name + _SUFFIX not in self._variables:
            return self._variables[name]
        return self._read(name, self._variables[name + _SUFFIX])

    def _read(self, name: str, file: str) -> str:
        text = Path(file).read_text(encoding="utf-8", errors="replace")
        self.files[name] = file
        return text

    def __iter__(self) -> Iterator[str]:
        return iter(self._variables)

    def __len__(self) -> int:
        return len(self._variables)
