"""Where secrets come from: the environment, or a file that it names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from adapters.regular_files import LARGEST_SECRET, read_regular

_SUFFIX = "_FILE"
_FILE = "file:"


class NotSet(NamedTuple):
    """A variable that a secret is to come from, and that nobody has set."""

    name: str
    path: str = ""
    """The key of the policy that names it; empty where its place is said anyhow."""
    running: bool = False
    """It is missed by a gateway that runs: whoever asks may have set it where he is."""

    @property
    def found(self) -> str:
        where = f"{self.path}: " if self.path else ""
        whose = " in the gateway, which was started without it" if self.running else ""
        return f"{where}the environment variable {self.name} is not set{whose}"

    @property
    def do(self) -> str:
        if self.running:
            return "start it with that, or write ${file:/PATH} of a file that has the secret"
        return f"set it, or {self.name}{_SUFFIX} to a file that has it"

    def __str__(self) -> str:
        return f"{self.found}: {self.do}"


class Environment(Mapping[str, str]):
    """``NAME`` is what the variable says; where it is not set and ``NAME_FILE`` is, what the file
    of that name holds; ``file:/PATH`` is what that file holds. Files are read when they are asked
    for: by one of these for each reading of a policy, what was renewed is seen.

    ``files`` are those that were read: variable -> file.
    """

    def __init__(self, variables: Mapping[str, str], *, running: bool = False) -> None:
        """``running``: it is a running gateway's, of which others have no other."""
        self._variables = variables
        self.running = running
        self.files: dict[str, str] = {}

    def __getitem__(self, name: str) -> str:
        """Raises KeyError where it is not set, OSError where the file cannot be read."""
        if name.startswith(_FILE):
            return self._read(name, name.removeprefix(_FILE))
        if name in self._variables or name + _SUFFIX not in self._variables:
            return self._variables[name]
        return self._read(name, self._variables[name + _SUFFIX])

    def _read(self, name: str, file: str) -> str:
        text = read_regular(file, LARGEST_SECRET).decode("utf-8", "replace")
        self.files[name] = file
        return text

    def __iter__(self) -> Iterator[str]:
        return iter(self._variables)

    def __len__(self) -> int:
        return len(self._variables)


def lack_of(environ: Mapping[str, str], name: str) -> NotSet:
    """What is wrong where ``environ`` does not know the variable."""
    return NotSet(name, running=isinstance(environ, Environment) and environ.running)


def unfit(text: str) -> str:
    """What is wrong with a text that stands where a secret should be named."""
    if text.startswith(f"${{{_FILE}"):
        return "the path of a secret's file is absolute: ${file:/run/secrets/NAME}"
    return (
        "a secret is not written here: write ${NAME}, alone, and put its value into the "
        "environment, or ${file:/PATH} of a file that has it"
    )
