"""Bodies that are no JSON: forms with files (multipart/form-data, RFC 7578) and bare files."""

from __future__ import annotations

from typing import Any

from local_runtime.app.form_parts import FORM, FormParts, NotAForm, boundary_of
from local_runtime.app.request import File, InvalidInput

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
    boundary = boundary_of(content_type)
    if not boundary:
        raise InvalidInput("the form's Content-Type names no boundary")
    form = _Fields(boundary)
    try:
        form.write(body)
    except NotAForm as error:
        raise InvalidInput(f"the form is {error}") from None
    if not form.is_whole:
        raise InvalidInput("the form is cut off before its last boundary")
    parts = form.found
    fields: dict[str, Any] = {}
    for name, value in parts:
        if name not in fields:
            fields[name] = value
        elif isinstance(fields[name], list):
            fields[name].append(value)
        else:
            fields[name] = [fields[name], value]
    return fields, tuple(value for _, value in parts if isinstance(value, File))


class _Fields(FormParts):
    """What one form holds."""

    def __init__(self, boundary: bytes) -> None:
        super().__init__(boundary)
        self.found: list[tuple[str, str | File]] = []
        self._data: list[bytes] = []

    def begun(self) -> None:
        if len(self.found) == MOST_PARTS:
            raise InvalidInput(f"the form has more than {MOST_PARTS} parts")
        self._data = []

    def data(self, piece: bytes) -> None:
        self._data.append(piece)

    def ended(self) -> None:
        said = self.disposition()
        name = said.get(b"name", b"").decode("utf-8", "replace")
        if not name:
            raise InvalidInput("a part of the form has no name")
        self.found.append((name, self._value(name, b"".join(self._data), said.get(b"filename"))))

    def _value(self, name: str, data: bytes, given: bytes | None) -> str | File:
        if given is None:
            try:
                return data.decode()
            except UnicodeDecodeError:
                raise InvalidInput(f"the form's {name} is not UTF-8", param=name) from None
        kind = self.headers.get(b"content-type", b"").decode("latin-1")
        return File(
            field=name,
            data=data,
            name=given.decode("utf-8", "replace"),
            content_type=kind or "application/octet-stream",
        )
