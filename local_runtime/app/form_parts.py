"""A form (multipart/form-data, RFC 7578) as it comes: what each of its parts says of itself, and
its bytes. python-multipart reads it, and is imported with the first form."""

from __future__ import annotations

from typing import Any

FORM = "multipart/form-data"
_LONGEST_BOUNDARY = 256
_LONGEST_HEADER = 16 * 1024


class NotAForm(ValueError):
    """It is not well formed; says where."""


class FormParts:
    """To be made a class that says what becomes of a part: ``begun`` once its headers are known,
    ``data`` for each piece of its bytes, and ``ended``. What these raise, ``write`` raises."""

    def __init__(self, boundary: bytes) -> None:
        from python_multipart.multipart import MultipartParser

        self.is_whole = False
        """Whether the last boundary has come."""
        self.headers: dict[bytes, bytes] = {}
        """Of the part that comes now, their names in lower case."""
        self._header = (bytearray(), bytearray())
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": lambda *piece: self._extend(0, *piece),
                "on_header_value": lambda *piece: self._extend(1, *piece),
                "on_header_end": self._end_header,
                "on_headers_finished": self.begun,
                "on_part_data": lambda data, start, end: self.data(data[start:end]),
                "on_part_end": self.ended,
                "on_end": self._end,
            },
        )

    def write(self, piece: bytes) -> None:
        """The next bytes of the form. Raises NotAForm for what is none."""
        from python_multipart.exceptions import FormParserError

        try:
            self._parser.write(piece)
        except FormParserError as error:
            raise NotAForm(f"not well formed: {error}") from None

    def disposition(self) -> dict[bytes, bytes]:
        """What the part that comes now says of itself: ``name``, and of a file ``filename``; empty
        where it is no field of a form."""
        kind, options = options_of(self.headers.get(b"content-disposition", b""))
        return options if kind == b"form-data" else {}

    def begun(self) -> None:
        """The headers of a part are known."""

    def data(self, piece: bytes) -> None:
        """Some of its bytes."""

    def ended(self) -> None:
        """It is whole."""

    def _begin(self) -> None:
        self.headers = {}

    def _extend(self, which: int, data: bytes, start: int, end: int) -> None:
        self._header[which].extend(data[start:end])
        if len(self._header[which]) > _LONGEST_HEADER:
            raise NotAForm("not well formed: a header of a part is too long")

    def _end_header(self) -> None:
        name, value = self._header
        self.headers[bytes(name).lower()] = bytes(value)
        self._header = (bytearray(), bytearray())

    def _end(self) -> None:
        self.is_whole = True


def options_of(header: bytes | str) -> tuple[bytes, dict[bytes, bytes]]:
    """A header's value in lower case, and its parameters."""
    from python_multipart.multipart import parse_options_header

    found: tuple[bytes, dict[Any, Any]] = parse_options_header(header)
    return found


def boundary_of(content_type: bytes | str) -> bytes:
    """What stands between the parts; empty where the Content-Type is no form's, or names none."""
    kind, options = options_of(content_type)
    boundary = options.get(b"boundary", b"")
    is_one = kind == FORM.encode() and len(boundary) <= _LONGEST_BOUNDARY
    return boundary if is_one else b""
