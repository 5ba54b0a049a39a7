"""What a handler's bytes are where only JSON can be answered."""

from __future__ import annotations

from typing import Any

import pytest

from local_runtime.json_values import Pieces, value_of

PNG = (("Content-Type", "image/png"),)
TEXT = (("content-type", "Text/Plain; charset=utf-8"),)
DEEP = b"[" * 100_000


@pytest.mark.parametrize(
    ("data", "headers", "value"),
    [
        (b'{"a":1}', (), {"a": 1}),
        (b"", (), None),
        (b"123", TEXT, "123"),
        (b"\x89PNG", PNG, "data:image/png;base64,iVBORw=="),
        (b"hello", (), "hello"),
        (b"\xff", (), "data:application/octet-stream;base64,/w=="),
        (DEEP, (), DEEP.decode()),
    ],
    ids=["json", "nothing", "text", "bytes", "no json", "neither", "nested without end"],
)
def test_json_is_a_value_text_is_text_and_other_bytes_are_a_data_url(
    data: bytes, headers: tuple[tuple[str, str], ...], value: Any
) -> None:
    assert value_of(data, headers) == value


def test_a_character_that_is_cut_in_two_comes_with_its_second_half() -> None:
    pieces, euro = Pieces(TEXT), "€".encode()
    assert [pieces.value_of(part) for part in (b"a" + euro[:1], euro[1:])] == ["a", "€"]


def test_pieces_of_other_bytes_are_data_urls_each() -> None:
    assert Pieces(PNG).value_of(b"\x89") == "data:image/png;base64,iQ=="
