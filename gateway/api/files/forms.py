"""Forms with a file, read as they come: multipart/form-data (RFC 7578)."""

from __future__ import annotations

from email.message import Message

from gateway.types import ApiError
from local_runtime.app.form_parts import FORM, FormParts, NotAForm, boundary_of

_LONGEST_FIELD = 16 * 1024
_MOST_FIELDS = 64
_LONGEST_NAME = 255


class FormReader(FormParts):
    """Takes the form in pieces and gives back what of each is the file's. ``fields`` are the
    others; ``name`` and ``content_type`` the file's own, once it has begun."""

    def __init__(self, content_type: bytes, field: str = "file") -> None:
        """``field``: which one has the file. Raises ApiError 415 for what is no such form."""
        boundary = boundary_of(content_type)
        if not boundary:
            raise ApiError(
                415,
                "unsupported_media_type",
                f"A file comes as {FORM}, in the field `{field}`.",
                param="Content-Type",
                headers={"connection": "close"},
            )
        super().__init__(boundary)
        self._file_field = field
        self.fields: dict[str, str] = {}
        self.name = ""
        self.content_type = ""
        self.has_file = False
        self._file: list[bytes] = []
        self._field = bytearray()
        self._part = ""
        self._in_file = False

    def feed(self, piece: bytes) -> bytes:
        """What of the next piece is the file's. Raises ApiError 400."""
        try:
            self.write(piece)
        except NotAForm as error:
            raise _bad(f"it is {error}") from None
        found, self._file = b"".join(self._file), []
        return found

    def end(self) -> None:
        """Nothing more comes. Raises ApiError 400 for a form that is not whole, or has no file."""
        if not self.is_whole:
            raise _bad("it breaks off before its last boundary")
        if not self.has_file:
            text = f"The form has no `{self._file_field}`."
            raise ApiError(400, "missing_field", text, param=self._file_field)

    def begun(self) -> None:
        """As FormParts says, as all that follows. Raises ApiError 400."""
        said = self.disposition()
        if b"name" not in said:
            raise _bad("a part has no name")
        self._part = said[b"name"].decode(errors="replace")
        self._field = bytearray()
        self._in_file = self._part == self._file_field
        if not self._in_file:
            if self._part in self.fields or len(self.fields) >= _MOST_FIELDS:
                raise _bad(f"the field {self._part[:40]!r} is there twice, or there are too many")
            return
        if self.has_file:
            raise _bad("it has two files: send one at a time")
        self.has_file = True
        self.name = _base(said.get(b"filename", b"").decode(errors="replace"))
        self.content_type = _kind(self.headers.get(b"content-type", b""))

    def data(self, piece: bytes) -> None:
        if self._in_file:
            self._file.append(piece)
            return
        self._field.extend(piece)
        if len(self._field) > _LONGEST_FIELD:
            raise _bad(f"the field {self._part[:40]!r} is longer than {_LONGEST_FIELD} bytes")

    def ended(self) -> None:
        if not self._in_file:
            self.fields[self._part] = self._field.decode(errors="replace")


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
