"""Forms and files as a handler is given them."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_runtime import File, InvalidInput
from local_runtime.app.forms import MOST_PARTS, kind_of, read_form
from local_runtime.app.request import Request

TYPE = "multipart/form-data; boundary=edge"


def part(name: str, data: bytes, more: str = "", headers: str = "") -> bytes:
    head = f'--edge\r\nContent-Disposition: form-data; name="{name}"{more}\r\n{headers}\r\n'
    return head.encode() + data + b"\r\n"


def picture(name: str, data: bytes, filename: str = "a.png") -> bytes:
    return part(name, data, f'; filename="{filename}"', "Content-Type: image/png\r\n")


END = b"--edge--\r\n"
WHOLE = part("prompt", b"a cat") + picture("image", b"\x89PNG\r\n--edg\xff") + END


@pytest.mark.parametrize(
    ("content_type", "kind"),
    [
        ("", "json"),
        ("application/json", "json"),
        ("application/x-www-form-urlencoded", "json"),
        ("text/plain", "json"),
        ("Multipart/Form-Data; boundary=x", "form"),
        ("image/png", "file"),
        ("audio/wav; rate=8000", "file"),
        ("application/octet-stream", "file"),
    ],
)
def test_the_content_type_says_what_a_body_is(content_type: str, kind: str) -> None:
    assert kind_of(content_type) == kind


def test_a_form_has_its_texts_and_its_files() -> None:
    fields, files = read_form(WHOLE, TYPE)
    image = File(
        data=b"\x89PNG\r\n--edg\xff", name="a.png", content_type="image/png", field="image"
    )
    assert fields == {"prompt": "a cat", "image": image}
    assert files == (image,)


def test_a_field_that_comes_twice_is_a_list() -> None:
    body = part("tag", b"a") + part("tag", b"b") + picture("i", b"1") + picture("i", b"2") + END
    fields, files = read_form(body, TYPE)
    assert fields["tag"] == ["a", "b"]
    assert [file.data for file in fields["i"]] == [b"1", b"2"] == [file.data for file in files]


@given(st.integers(0, len(WHOLE) - len(b"--\r\n") - 1))
def test_a_form_that_is_cut_anywhere_is_refused(at: int) -> None:
    with pytest.raises(InvalidInput):
        read_form(WHOLE[:at], TYPE)


@given(st.binary(max_size=300).filter(lambda data: b"\r\n--edge" not in data))
def test_a_file_comes_byte_for_byte(data: bytes) -> None:
    _, (file,) = read_form(picture("f", data) + END, TYPE)
    assert file.data == data


@given(st.binary(max_size=400))
def test_whatever_comes_is_read_or_refused(body: bytes) -> None:
    with contextlib.suppress(InvalidInput):
        fields, files = read_form(b"--edge\r\n" + body, TYPE)
        assert len(fields) >= len({file.field for file in files})


@pytest.mark.parametrize(
    ("body", "content_type", "why"),
    [
        (WHOLE, "multipart/form-data", "no boundary"),
        (part("", b"x") + END, TYPE, "no name"),
        (part("text", b"\xff") + END, TYPE, "not UTF-8"),
        (part("a", b"b") * (MOST_PARTS + 1) + END, TYPE, "more than"),
        (part("a", b"", "", f"X: {'y' * 20_000}\r\n") + END, TYPE, "header size"),
    ],
    ids=["boundary", "name", "bytes", "parts", "headers"],
)
def test_what_is_wrong_with_a_form_is_said(body: bytes, content_type: str, why: str) -> None:
    with pytest.raises(InvalidInput, match=why):
        read_form(body, content_type)


def test_a_request_gives_its_files_by_name() -> None:
    one, other = File(data=b"1", field="image"), File(data=b"2", field="mask")
    request = Request(json=None, files=(one, other))
    assert (request.file(), request.file("mask")) == (one, other)
    with pytest.raises(InvalidInput, match="no file 'sound'") as refused:
        request.file("sound")
    assert refused.value.param == "sound"
    with pytest.raises(InvalidInput, match="no file came"):
        Request(json=None).file()
