"""Bodies that are no JSON: forms with files (multipart/form-data, RFC 7578) and bare files.

python-multipart reads the forms; it is imported with the first that comes.
"""

from __future__ import annotations

from typing import Any

from local_runtime.app.request import File, InvalidInput

FORM = "multipart/form-data"
MOST_PARTS = 200
_FILES = ("image/", "audio/", "video/", "font/", "model/")
_MORE = frozenset(("application/octet-stream", "application/pdf", "application/zip"))


def kind_of(content_type: str) -> str:
    """'form', 'file' or 'json': how a body of that Content-Type is read. What is neither of the
    first, or is not named, is JSON: so programs send it that name nothing."""
    media = content_type.partition(";")[0].strip().lower()
    if media == FORM:
        return "form"
    return "file" if media.startswith(_FILES) or media in _MORE else "json"


def read_file(body: bytes, content_type: str) -> File:
    """A body that is one file."""
    return File(data=body, content_type=content_type)


def read_form(body: bytes, content_type: str) -> tuple[dict[str, Any], tuple[File, ...]]:
    """The fields, by name, and the files in their order. A field that comes several times is a
    list; a file is a field too. Raises InvalidInput for a form that is cut off, has no boundary or
    is none, has more than MOST_PARTS parts, or a text that is no UTF-8."""
    parts = _Parts(_boundary(content_type)).read(body)
    fields: dict[str, Any] = {}
    for name, value in parts:
        if name not in fields:
            fields[name] = value
        elif isinstance(fields[name], list):
            fields[name].append(value)
        else:
            fields[name] = [fields[name], value]
    return fields, tuple(value for _, value in parts if isinstance(value, File))


def _boundary(content_type: str) -> bytes:
    from python_multipart.multipart import parse_options_header

    boundary: bytes = parse_options_header(content_type)[1].get(b"boundary", b"")
    if not 0 < len(boundary) <= 256:
        raise InvalidInput("the form's Content-Type names no boundary")
    return boundary


class _Parts:
    """What one form holds, as the parser says it."""

    def __init__(self, boundary: bytes) -> None:
        from python_multipart.multipart import MultipartParser

        self._found: list[tuple[str, str | File]] = []
        self._whole = False
        self._headers: dict[bytes, bytes] = {}
        self._header = (bytearray(), bytearray())
        self._data: list[bytes] = []
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": self._name,
                "on_header_value": self._value,
                "on_header_end": self._end_header,
                "on_part_data": self._piece,
                "on_part_end": self._end_part,
                "on_end": self._end,
            },
        )

    def read(self, body: bytes) -> list[tuple[str, str | File]]:
        from python_multipart.exceptions import FormParserError

        try:
            self._parser.write(body)
        except FormParserError as error:
            raise InvalidInput(f"the form is not well formed: {error}") from None
        if not self._whole:
            raise InvalidInput("the form is cut off before its last boundary")
        return self._found

    def _begin(self) -> None:
        if len(self._found) == MOST_PARTS:
            raise InvalidInput(f"the form has more than {MOST_PARTS} parts")
        self._headers, self._data = {}, []

    def _name(self, data: bytes, start: int, end: int) -> None:
        self._header[0].extend(data[start:end])

    def _value(self, data: bytes, start: int, end: int) -> None:
        self._header[1].extend(data[start:end])

    def _end_header(self) -> None:
        name, value = self._header
        self._headers[bytes(name).lower()] = bytes(value)
        self._header = (bytearray(), bytearray())

    def _piece(self, data: bytes, start: int, end: int) -> None:
        self._data.append(data[start:end])

    def _end_part(self) -> None:
        from python_multipart.multipart import parse_options_header

        options = parse_options_header(self._headers.get(b"content-disposition"))[1]
        name = options.get(b"name", b"").decode("utf-8", "replace")
        if not name:
            raise InvalidInput("a part of the form has no name")
        data, media = b"".join(self._data), self._headers.get(b"content-type", b"")
        if b"filename" in options:
            kind = media.decode("latin-1") or "application/octet-stream"
            given = options[b"filename"].decode("utf-8", "replace")
            self._found.append((name, File(field=name, data=data, name=given, content_type=kind)))
            return
        try:
            self._found.append((name, data.decode()))
        except UnicodeDecodeError:
            raise InvalidInput(f"the form's {name} is not UTF-8", param=name) from None

    def _end(self) -> None:
        self._whole = True
