"""Forms with files (multipart/form-data, RFC 7578), which are whole in memory. Pure.

Read as far as it takes to know that one is whole, and what its fields say: a file's bytes are
neither copied nor looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

MOST_PARTS = 200
_LONGEST_HEADERS = 16 * 1024
_BOUNDARY = re.compile(
    r'multipart/form-data\s*;.*?\bboundary=(?:"([^"]{1,70})"|([^\s;"]{1,70}))', re.I
)
_FIELD = re.compile(
    rb"(?i)content-disposition:[ \t]*form-data[ \t]*"
    rb'(?:;[ \t]*[^\s=;"]+=(?:"(?:\\"|[^"\r\n])*"|[^\s;"]*)[ \t]*)*?'
    rb';[ \t]*name=(?:"([^"\r\n]*)"|([^\s;"]+))'
)
_FILE = re.compile(rb"(?i)content-disposition:[^\r\n]*?\bfilename\*?=")


class FormPart(msgspec.Struct, frozen=True):
    """One field of a form, and where its value stands in the body."""

    name: str
    is_file: bool
    start: int
    end: int


def boundary_of(content_type: str) -> bytes | None:
    """The boundary that a Content-Type names; None where it is no form's."""
    found = _BOUNDARY.match(content_type.strip())
    return None if found is None else (found[1] or found[2]).encode("latin-1", "replace")


def parts_of(body: bytes, boundary: bytes) -> list[FormPart]:
    """The fields in turn. Raises ValueError for a form that is cut off, has more than MOST_PARTS
    parts, or a part without a name."""
    parts = list(_parts(body, boundary))
    if not parts:
        raise ValueError("it has no field")
    return parts


def _parts(body: bytes, boundary: bytes) -> Iterator[FormPart]:
    delimiter = b"--" + boundary
    at = 0 if body.startswith(delimiter) else body.find(b"\r\n" + delimiter) + 2
    if not body.startswith(delimiter, at):
        raise ValueError("its boundary stands nowhere in it")
    for _ in range(MOST_PARTS):
        at += len(delimiter)
        if body.startswith(b"--", at):
            return
        headers_end = body.find(b"\r\n\r\n", at, at + _LONGEST_HEADERS)
        end = -1 if headers_end < 0 else body.find(b"\r\n" + delimiter, headers_end + 2)
        if end < 0:
            raise ValueError("it is cut off before its last boundary")
        yield _part(body[at:headers_end], headers_end + 4, max(end, headers_end + 4))
        at = end + 2
    raise ValueError(f"it has more than {MOST_PARTS} parts")


def _part(headers: bytes, start: int, end: int) -> FormPart:
    name = _FIELD.search(headers)
    if name is None:
        raise ValueError("one of its parts has no name")
    return FormPart(
        (name[2] or name[1]).decode("utf-8", "replace"),
        _FILE.search(headers) is not None,
        start,
        end,
    )


def texts_of(body: bytes, parts: list[FormPart]) -> dict[str, str]:
    """The fields that are no files; the last of a name counts. Raises ValueError for one that is no
    UTF-8."""
    return {part.name: body[part.start : part.end].decode() for part in parts if not part.is_file}


def with_text(body: bytes, boundary: bytes, name: str, value: str) -> bytes:
    """The form with another value in each field of that name. Raises ValueError for one that is
    none."""
    changed = [part for part in parts_of(body, boundary) if part.name == name and not part.is_file]
    pieces, at = [], 0
    for part in changed:
        pieces += [body[at : part.start], value.encode()]
        at = part.end
    return b"".join([*pieces, body[at:]])
