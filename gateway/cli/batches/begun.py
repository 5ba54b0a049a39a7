"""What was begun for an input: beside its results stands which batch it is, so that the same
command goes on after it was broken off, and begins nothing twice."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import msgspec

from gateway.cli.shared import fail

_SUFFIX = ".batch"


class Begun(msgspec.Struct, frozen=True, kw_only=True):
    """Of one input, by its digest."""

    batch: str
    input: str


def digest_of(path: Path) -> str:
    """Ends the program where the file cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        fail(f"{path}: {error.strerror}")


def begun_before(out: Path, digest: str) -> str:
    """The batch that was begun for this input; empty where none was. Ends the program where it was
    another input's."""
    place = _place(out)
    try:
        known = msgspec.json.decode(place.read_bytes(), type=Begun)
    except FileNotFoundError:
        return ""
    except (OSError, msgspec.DecodeError) as error:
        fail(f"{place}: {error}")
    if known.input != digest:
        fail(
            f"{place} belongs to another input, of the batch {known.batch}. Give another --out, or "
            "--new to begin anew"
        )
    return known.batch


def remember(out: Path, digest: str, batch: str) -> None:
    """Before anybody waits for it."""
    place = _place(out)
    coming = place.with_name(place.name + ".part")
    coming.write_bytes(msgspec.json.encode(Begun(batch=batch, input=digest)))
    os.replace(coming, place)


def _place(out: Path) -> Path:
    return out.with_name(out.name + _SUFFIX)
