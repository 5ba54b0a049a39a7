"""How long a sound that was sent is: what its sender wrote at its head pays for nothing less."""

from __future__ import annotations

import struct

import pytest

from adapters.openai.plain_calls import seconds_sent
from adapters.openai.sound import seconds_of_wav
from adapters.types import Call

TYPE = "multipart/form-data; boundary=b"


def wav(
    data: bytes = bytes(32_000),
    *,
    tag: int = 1,
    rate: int = 8000,
    told: int = 16_000,
    channels: int = 1,
    bits: int = 16,
    between: bytes = b"",
) -> bytes:
    form = struct.pack("<HHIIHH", tag, channels, rate, told, channels * bits // 8, bits)
    head = b"RIFF" + bytes(4) + b"WAVEfmt " + struct.pack("<I", 16) + form
    return head + between + b"data" + struct.pack("<I", len(data)) + data


def sent(*files: tuple[str, bytes]) -> Call:
    body = b"".join(
        b'--b\r\nContent-Disposition: form-data; name="%b"; filename="a"\r\n\r\n%b\r\n'
        % (name.encode(), data)
        for name, data in files
    )
    return Call(id="c", model="m", task="transcriptions", body=body + b"--b--", content_type=TYPE)


@pytest.mark.parametrize(
    ("sound", "seconds"),
    [
        (wav(), 2.0),
        (wav(between=b"LIST" + struct.pack("<I", 3) + b"abc\0"), 2.0),
        (wav(told=0xFFFFFFFF), None),
        (wav(told=1), None),
        (wav(rate=0xFFFFFFFF, told=0xFFFFFFFF, bits=8), None),
        (wav(rate=0, told=0), None),
        (wav(channels=0, told=0), None),
        (wav(tag=3), None),
        (wav(b""), None),
        (wav(between=wav()[12:36]), None),
        (wav()[:40], None),
    ],
    ids=[
        "plain", "with words", "another byte rate", "a slow one", "no such rate", "no rate",
        "no channel", "no PCM", "no sample", "two formats", "cut",
    ],
)  # fmt: skip
def test_a_head_that_contradicts_itself_says_nothing(sound: bytes, seconds: float | None) -> None:
    assert seconds_of_wav(sound) == seconds


@pytest.mark.parametrize(
    ("files", "seconds"),
    [
        ((("file", wav()),), 2.0),
        ((("x", wav(bytes(16))), ("file", wav())), 2.0),
        ((("file", wav(bytes(16))), ("file", wav())), 2.0),
        ((("file", wav(b"")), ("file", b"ID3 and so on")), None),
        ((("file", wav()), ("file", b"ID3 and so on")), None),
        ((("x", wav()), ("file", b"ID3 and so on")), None),
        ((("x", wav()),), None),
    ],
    ids=["one", "another before", "two", "no sample before", "one unknown", "not it", "none"],
)
def test_only_the_file_itself_is_heard(
    files: tuple[tuple[str, bytes], ...], seconds: float | None
) -> None:
    assert seconds_sent(sent(*files)) == seconds
