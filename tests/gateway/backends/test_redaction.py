"""Keys that a backend repeats in its answers."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.http_json import HttpJsonSettings
from adapters.settings import Secret
from adapters.types import Reply
from gateway.backends.redaction import Redactor


def redactor_of(*secrets: str) -> Redactor:
    headers = {f"X-{number}": Secret(secret) for number, secret in enumerate(secrets)}
    return Redactor(HttpJsonSettings(base_url="http://h", path="/", secret_headers=headers))


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
    assert redactor_of("sk-4711")(before) == after
    assert redactor_of("sk-4711").over(Reply(body=before)).body == after


def test_an_answer_without_a_key_is_the_same_object() -> None:
    reply = Reply(body=b'{"a":1}')
    assert redactor_of("sk-4711").over(reply) is reply


def test_every_secret_of_a_mapping_counts() -> None:
    headers = {"X-Key": Secret("first-key"), "X-Other": Secret("second-key")}
    redactor = Redactor(HttpJsonSettings(base_url="http://h", path="/", secret_headers=headers))
    assert redactor(b"first-key and second-key") == b"*** and ***"


def test_a_secret_of_a_few_letters_would_blank_out_words_and_is_left() -> None:
    assert redactor_of("a")(b"a banana") == b"a banana"


def test_of_secrets_that_begin_together_the_longest_is_taken() -> None:
    assert redactor_of("sk-471", "sk-4711")(b"sk-4711 sk-471") == b"*** ***"


# --- streams ------------------------------------------------------------------------------------


def streamed(redactor: Redactor, chunks: Iterable[bytes]) -> bytes:
    stream = redactor.over_stream()
    return b"".join([*map(stream, chunks), stream.rest()])


LETTERS = st.sampled_from(["a", "b", "c"])
SECRETS = st.lists(st.text(LETTERS, min_size=6, max_size=9), min_size=1, max_size=3)


@given(secrets=SECRETS, noise=st.lists(st.text(LETTERS, max_size=8), max_size=5), data=st.data())
def test_a_stream_says_what_the_whole_would_wherever_it_is_cut(
    secrets: list[str], noise: list[str], data: st.DataObject
) -> None:
    """Few letters, so that secrets overlap, begin together and almost come."""
    between = data.draw(st.lists(st.sampled_from(secrets), min_size=len(noise)))
    text = "".join(map("".join, zip(noise, between, strict=False))).encode()
    places = st.lists(st.integers(0, len(text)), max_size=12).map(sorted)
    cuts = [0, *data.draw(places), len(text)]
    redactor = redactor_of(*secrets)
    assert streamed(redactor, (text[a:b] for a, b in itertools.pairwise(cuts))) == redactor(text)


def test_a_secret_is_found_in_every_split_into_two_and_in_single_bytes() -> None:
    redactor, event = redactor_of("sk-4711"), b'data: {"heard":"Bearer sk-4711"}\n\n'
    expected = b'data: {"heard":"Bearer ***"}\n\n'
    for cut in range(len(event) + 1):
        assert streamed(redactor, (event[:cut], event[cut:])) == expected
    assert streamed(redactor, (event[i : i + 1] for i in range(len(event)))) == expected


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=9).map(sorted))
def test_bytes_without_a_secret_pass_unchanged(body: bytes, places: list[int]) -> None:
    cuts = [0, *places, 200]
    chunks = [body[a:b] for a, b in itertools.pairwise(cuts)]
    assert streamed(redactor_of("sk-4711"), chunks) == body


@pytest.mark.parametrize(
    ("chunk", "now"),
    [
        (b"data: x\n\n", b"data: x\n\n"),
        (b"the task", b"the ta"),
        (b"a desk-47", b"a de"),
        (b"a desk-48", b"a desk-48"),
        (b"sk-4711", b"***"),
    ],
)
def test_only_what_may_be_the_beginning_of_a_secret_waits(chunk: bytes, now: bytes) -> None:
    stream = redactor_of("sk-4711").over_stream()
    assert stream(chunk) == now


def test_where_no_secret_may_be_inside_a_chunk_is_the_same_object() -> None:
    chunk = b"data: 1\n\n"
    assert redactor_of("sk-4711").over_stream()(chunk) is chunk
    assert redactor_of().over_stream()(chunk) is chunk
