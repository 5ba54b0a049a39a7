"""Forms with a file, read as they come: multipart/form-data (RFC 7578)."""

from __future__ import annotations

from email.message import Message

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from gateway.types import ApiError

_LONGEST_FIELD = 16 * 1024
_MOST_FIELDS = 64
_LONGEST_NAME = 255


class FormReader:
    """Takes the form in pieces and gives back what of each is the file's. ``fields`` are the
    others; ``name`` and ``content_type`` the file's own, once it has begun."""

    def __init__(self, content_type: bytes, field: str = "file") -> None:
        """``field``: which one has the file. Raises ApiError 415 for what is no such form."""
        kind, options = parse_options_header(content_type)
        boundary = options.get(b"boundary", b"")
        if kind != b"multipart/form-data" or not 0 < len(boundary) <= 256:
            raise ApiError(
                415,
                "unsupported_media_type",
                f"A file comes as multipart/form-data, in the field `{field}`.",
                param="Content-Type",
                headers={"connection": "close"},
            )
        self._file_field = field
        self.fields: dict[str, str] = {}
        self.name = ""
        self.content_type = ""
        self.has_file = False
        self.is_whole = False
        self._file: list[bytes] = []
        self._field = bytearray()
        self._headers: dict[bytes, bytes] = {}
        self._header = (bytearray(), bytearray())
        self._part = ""
        self._in_file = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": self._name,
                "on_header_value": self._value,
                "on_header_end": self._end_header,
                "on_headers_finished": self._begin_body,
                "on_part_data": self._data,
                "on_part_end": self._end_part,
                "on_end": self._end,
            },
        )

    def feed(self, piece: bytes) -> bytes:
        """What of the next piece is the file's. Raises ApiError 400."""
        try:
            self._parser.write(piece)
        except FormParserError as error:
            raise _bad(f"it is not well formed: {error}") from None
        found, self._file = b"".join(self._file), []
        return found

    def end(self) -> None:
        """Nothing more comes. Raises ApiError 400 for a form that is not whole, or has no file."""
        if not self.is_whole:
            raise _bad("it breaks off before its last boundary")
        if not self.has_file:
            text = f"The form has no `{self._file_field}`."
            raise ApiError(400, "missing_field", text, param=self._file_field)

    def _begin(self) -> None:
        self._headers = {}
        self._field = bytearray()

    def _name(self, data: bytes, start: int, end: int) -> None:
        self._header[0].extend(data[start:end])

    def _value(self, data: bytes, start: int, end: int) -> None:
        self._header[1].extend(data[start:end])
        if len(self._header[1]) > _LONGEST_FIELD:
            raise _bad("a header of a part is too long")

    def _end_header(self) -> None:
        name, value = self._header
        self._headers[bytes(name).lower()] = bytes(value)
        self._header = (bytearray(), bytearray())

    def _begin_body(self) -> None:
        kind, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        if kind != b"form-data" or b"name" not in options:
            raise _bad("a part has no name")
        self._part = options[b"name"].decode(errors="replace")
        self._in_file = self._part == self._file_field
        if not self._in_file:
            if self._part in self.fields or len(self.fields) >= _MOST_FIELDS:
                raise _bad(f"the field {self._part[:40]!r} is there twice, or there are too many")
            return
        if self.has_file:
            raise _bad("it has two files: send one at a time")
        self.has_file = True
        self.name = _base(options.get(b"filename", b"").decode(errors="replace"))
        self.content_type = _kind(self._headers.get(b"content-type", b""))

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._in_file:
            self._file.append(data[start:end])
            return
        self._field.extend(data[start:end])
        if len(self._field) > _LONGEST_FIELD:
            raise _bad(f"the field {self._part[:40]!r} is longer than {_LONGEST_FIELD} bytes")

    def _end_part(self) -> None:
        if not self._in_file:
            self.fields[self._part] = self._field.decode(errors="replace")

    def _end(self) -> None:
        self.is_whole = True


def _base(name: str) -> str:
    """Without folders, or what no line of text should hold."""
    last = name.replace("\\", "/").rpartition("/")[2][-_LONGEST_NAME:]
    return "".join(char if char.isprintable() else "?" for char in last) or "file"


def _kind(header: bytes) -> str:
    """The type and its parameters, as it may stand in an answer; else empty."""
    message = Message()
    text = header.decode("latin-1").strip()
    if not text or not text.isascii() or not text.isprintable() or len(text) > _LONGEST_NAME:
        return ""
    message["content-type"] = text
    return message.get_content_type() if "/" in text else ""


def _bad(why: str) -> ApiError:
    return ApiError(
        400,
        "invalid_form",
        f"The form cannot be read: {why}.",
        headers={"connection": "close"},
    )
