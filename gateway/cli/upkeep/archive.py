"""The file of a backup: a tar of files, and of a manifest that lists their hashes."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import sqlite3
import tarfile
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

MANIFEST = "manifest.json"
_FORM = 1


class ArchiveFault(Exception):
    """A backup that cannot be made, or is of no use. The message is for the user."""


class BackupFile(msgspec.Struct, frozen=True):
    """One file, and its name within the backup."""

    name: str
    path: Path
    database: bool = False
    """It is SQLite's, and copied as it stands at one instant."""


class Manifest(msgspec.Struct, frozen=True):
    form: int
    at: float
    """Seconds since the epoch."""
    files: dict[str, str]
    """Name -> SHA-256, in hexadecimal."""


def write(file: Path, parts: Sequence[BackupFile]) -> dict[str, int]:
    """Name -> bytes of each part that is there. Raises ArchiveFault, and OSError."""
    aside = file.with_name(f".{file.name}.{os.getpid()}")
    if file.exists():
        raise ArchiveFault("is there already")
    try:
        with (
            os.fdopen(os.open(aside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as raw,
            tarfile.open(fileobj=raw, mode="w:gz") as tar,
        ):
            sizes = _fill(tar, parts)
        os.link(aside, file)  # unlike a rename, it leaves alone what came there meanwhile
    finally:
        with contextlib.suppress(FileNotFoundError):
            aside.unlink()
    return sizes


def _fill(tar: tarfile.TarFile, parts: Sequence[BackupFile]) -> dict[str, int]:
    hashes, sizes = {}, {}
    with tempfile.TemporaryDirectory() as name:
        for part in parts:
            if not part.path.exists():
                continue
            copy = Path(name) / "part"
            _copy(part, copy)
            hashes[part.name], sizes[part.name] = _hash(copy), copy.stat().st_size
            tar.add(copy, part.name, filter=_private)
            copy.unlink()
    if all(name.startswith("policy/") for name in sizes):
        raise ArchiveFault("there is nothing to back up: no gateway has run with this policy here")
    text = msgspec.json.encode(Manifest(_FORM, time.time(), hashes))
    info = tarfile.TarInfo(MANIFEST)
    info.size, info.mode = len(text), 0o600
    tar.addfile(info, io.BytesIO(text))
    return sizes


def _private(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.mode, info.uid, info.gid, info.uname, info.gname = 0o600, 0, 0, "", ""
    return info


def _copy(part: BackupFile, copy: Path) -> None:
    if not part.database:
        copy.write_bytes(part.path.read_bytes())
        return
    # SQLite's own way beside a writer: https://www.sqlite.org/backup.html
    try:
        with (
            contextlib.closing(
                sqlite3.connect(f"{part.path.absolute().as_uri()}?mode=ro", uri=True)
            ) as source,
            contextlib.closing(sqlite3.connect(copy)) as target,
        ):
            source.backup(target)
            target.execute("PRAGMA journal_mode=DELETE")
    except sqlite3.Error as error:
        raise ArchiveFault(f"{part.path} cannot be copied: {error}") from None


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def unpack(file: Path, folder: Path) -> Manifest:
    """Puts every part below ``folder``, whole and checked. Raises ArchiveFault, and OSError."""
    try:
        with tarfile.open(file, "r:gz") as tar:
            tar.extractall(folder, filter="data")  # nothing leaves the folder
    except (tarfile.TarError, EOFError) as error:
        raise ArchiveFault(f"is no whole backup: {error}") from None
    try:
        manifest = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Manifest)
    except (FileNotFoundError, msgspec.MsgspecError):
        raise ArchiveFault(f"is no backup of `spillgate backup`: it has no {MANIFEST}") from None
    if manifest.form != _FORM:
        raise ArchiveFault(f"was written by another version (form {manifest.form})")
    for name, digest in manifest.files.items():
        part = folder / name
        if not part.is_file() or _hash(part) != digest:
            raise ArchiveFault(f"{name} in it is not as it was written")
    return manifest
