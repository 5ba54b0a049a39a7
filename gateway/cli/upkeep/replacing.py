"""Files that take the places of others, all of them or none."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from gateway.cli.upkeep.archive import BackupFile

_BESIDE = ("-wal", "-shm", "-journal")
"""What SQLite keeps beside a database, of which the restored one must know nothing."""
_Move = tuple[Path, Path]
"""From where, and to where."""


def replace_all(copies: Path, parts: Sequence[BackupFile], stamp: str) -> None:
    """Puts the files of the folder ``copies`` where the parts have theirs; what was there has
    ``stamp`` at the end of its name. All of them are written beside their places before the first
    is moved. Raises OSError, and then everything is as it was."""
    staged: list[_Move] = []
    try:
        for part in parts:
            beside = part.path.with_name(f".{part.path.name}.{os.getpid()}")
            staged.append((beside, part.path))
            _stage(copies / part.name, beside)
        _move_all([*_away(parts, stamp), *staged])
    finally:
        for beside, _ in staged:
            with contextlib.suppress(OSError):
                beside.unlink()


def _stage(copy: Path, beside: Path) -> None:
    """It may be another file system's."""
    beside.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    beside.unlink(missing_ok=True)
    descriptor = os.open(beside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(descriptor, "wb") as out, copy.open("rb") as source:
        shutil.copyfileobj(source, out)
        out.flush()
        os.fsync(out.fileno())


def _away(parts: Iterable[BackupFile], stamp: str) -> list[_Move]:
    found: list[_Move] = []
    for part in parts:
        for name in ("", *(_BESIDE if part.database else ())):
            old = part.path.with_name(part.path.name + name)
            if old.exists():
                found.append((old, old.with_name(old.name + stamp)))
    return found


def _move_all(moves: Sequence[_Move]) -> None:
    done: list[_Move] = []
    try:
        for source, place in moves:
            source.rename(place)
            done.append((source, place))
        for folder in {place.parent for _, place in moves}:
            _sync(folder)
    except BaseException:
        for source, place in reversed(done):
            with contextlib.suppress(OSError):  # the others go back all the same
                place.rename(source)
        raise


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
