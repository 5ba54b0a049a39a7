"""Commands and replies of the Redis protocol, however the network cuts them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.storage.redis.resp import BadReply, Reply, ReplyError, ReplyReader, greeting, pack
from gateway.store_urls import parse_address

WIRE = b"+OK\r\n:42\r\n$5\r\nab\r\nc\r\n$-1\r\n$0\r\n\r\n:-7\r\n"
REPLIES: list[Reply] = [b"OK", 42, b"ab\r\nc", None, b"", -7]


@given(cuts=st.lists(st.integers(0, len(WIRE)), max_size=8).map(sorted))
def test_replies_are_the_same_wherever_the_bytes_are_cut(cuts: list[int]) -> None:
    reader = ReplyReader()
    found: list[Reply] = []
    for start, end in zip([0, *cuts], [*cuts, len(WIRE)], strict=True):
        found.extend(reader.feed(WIRE[start:end]))
    assert found == REPLIES


def test_an_error_reply_is_a_value_with_its_text() -> None:
    (reply,) = ReplyReader().feed(b"-NOSCRIPT no such script\r\n")
    assert isinstance(reply, ReplyError)
    assert reply.text == "NOSCRIPT no such script"


@pytest.mark.parametrize("data", [b"HTTP/1.1 200 OK\r\n", b":many\r\n", b"$x\r\n"])
def test_what_is_not_the_protocol_is_refused(data: bytes) -> None:
    with pytest.raises(BadReply):
        ReplyReader().feed(data)


def test_a_command_is_an_array_of_counted_strings() -> None:
    assert pack([b"SET", b"k\r\n", b""]) == b"*3\r\n$3\r\nSET\r\n$3\r\nk\r\n\r\n$0\r\n\r\n"


@pytest.mark.parametrize(
    ("url", "shown", "commands"),
    [
        ("redis://localhost", "redis://localhost:6379/0", [[b"PING"]]),
        ("redis://h:7000/2", "redis://h:7000/2", [[b"SELECT", b"2"], [b"PING"]]),
        ("rediss://:p%40ss@h", "rediss://h:6379/0", [[b"AUTH", b"p@ss"], [b"PING"]]),
        ("redis://me:pw@h/", "redis://h:6379/0", [[b"AUTH", b"me", b"pw"], [b"PING"]]),
        ("unix:///run/r.sock?db=1", "unix:///run/r.sock/1", [[b"SELECT", b"1"], [b"PING"]]),
    ],
)
def test_an_address_says_where_and_how_to_enter(
    url: str, shown: str, commands: list[list[bytes]]
) -> None:
    address = parse_address(url)
    assert repr(address) == shown
    assert greeting(address) == [pack(command) for command in commands]
    assert "pw" not in repr(address.password)


@pytest.mark.parametrize(
    "url",
    [
        "http://h:s3cret@x",
        "redis://:s3cret@h/first",
        "redis://:s3cret@h/0?db=1",
        "redis://:s3cret@h/0#s3cret",
        "redis://:s3cret@h:99999",
        "redis://:s3cret@h:0",
        "redis://:p/s3cret@h",
        "redis://:s3cret@[h",
        "redis://:s3cret@h℀x",
        "unix://",
        "unix:///run/r.sock?db=first",
        "unix:///run/r.sock?password=s3cret",
        "memory://",
    ],
)
def test_a_bad_address_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ValueError, match=r"Redis|redis|not a URL") as refused:
        parse_address(url)
    assert "s3cret" not in str(refused.value)
