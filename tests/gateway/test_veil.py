"""Keys that a backend repeats in its answers."""

from __future__ import annotations

import pytest

from adapters.http_json import HttpJsonSettings
from adapters.openai import OpenAISettings
from adapters.settings import Secret
from adapters.types import Reply
from gateway.veil import Veil


def veil_of(secret: str) -> Veil:
    return Veil(OpenAISettings(base_url="http://h", api_key=Secret(secret)))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'{"heard":"Bearer sk-4711"}', b'{"heard":"Bearer ***"}'),
        (b"sk-4711sk-4711", b"******"),
        (b'{"a":1}', b'{"a":1}'),
        (b"", b""),
    ],
)
def test_a_key_in_an_answer_becomes_stars(before: bytes, after: bytes) -> None:
    assert veil_of("sk-4711")(before) == after
    assert veil_of("sk-4711").over(Reply(body=before)).body == after


def test_an_answer_without_a_key_is_the_same_object() -> None:
    reply = Reply(body=b'{"a":1}')
    assert veil_of("sk-4711").over(reply) is reply


def test_every_secret_of_a_mapping_counts() -> None:
    headers = {"X-Key": Secret("first-key"), "X-Other": Secret("second-key")}
    veil = Veil(HttpJsonSettings(base_url="http://h", path="/", secret_headers=headers))
    assert veil(b"first-key and second-key") == b"*** and ***"


def test_a_secret_of_a_few_letters_would_blank_out_words_and_is_left() -> None:
    assert veil_of("a")(b"a banana") == b"a banana"
