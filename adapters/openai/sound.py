"""How long a sound is, by its own bytes. Pure.

WAVE: https://www.mmsp.ece.mcgill.ca/Documents/AudioFormats/WAVE/WAVE.html. OpenAI's ``pcm`` is raw
24 kHz, 16 bits, one channel, and its ``mp3`` 128 kbit/s or less
(https://platform.openai.com/docs/guides/text-to-speech): of what is compressed, and does not say,
the length is an estimate.
"""

from __future__ import annotations

import struct

_LEAST_FORMAT = 16
_MOST_CHUNKS = 32
_PLAIN, _EXTENSIBLE = 1, 0xFFFE
_SAMPLE_BITS = (8, 16, 24, 32)
_HIGHEST_RATE, _MOST_CHANNELS = 384_000, 16
_PCM = 48_000
_PACKED = {"mpeg": 16_000, "mp3": 16_000, "aac": 16_000, "opus": 4_000, "ogg": 4_000}
"""Bytes a second, about, by the name of the format in a Content-Type."""
_ANY_PACKED = 16_000


def seconds_of_wav(data: bytes) -> float | None:
    """Of a WAVE file of PCM, by what its head says of the samples, and all bytes after it; None
    where it is none, contradicts itself, or holds no sample."""
    if not data.startswith(b"RIFF") or data[8:12] != b"WAVE":
        return None
    a_second, at = None, 12
    for _ in range(_MOST_CHUNKS):
        name, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        at += 8
        if name == b"data":
            return (len(data) - at) / a_second if a_second and len(data) > at else None
        if name == b"fmt ":
            if a_second is not None:
                return None
            a_second = _bytes_a_second(data[at : at + size])
        at += size + size % 2
    return None


def _bytes_a_second(form: bytes) -> int:
    """Of a WAVE file's format; 0 of one that is not PCM, or contradicts itself."""
    if len(form) < _LEAST_FORMAT:
        return 0
    tag, channels, rate, told, block, bits = struct.unpack_from("<HHIIHH", form)
    if tag == _EXTENSIBLE:
        tag = int.from_bytes(form[24:26], "little")
    held = channels * bits // 8
    is_sane = tag == _PLAIN and 0 < rate <= _HIGHEST_RATE and 0 < channels <= _MOST_CHANNELS
    return told if is_sane and bits in _SAMPLE_BITS and (block, told) == (held, rate * held) else 0


def seconds_of_sound(data: bytes, content_type: str) -> tuple[float, bool]:
    """(Seconds, whether that is exact) of a whole sound."""
    exact = seconds_of_wav(data)
    if exact is not None:
        return exact, True
    if "pcm" in content_type or "l16" in content_type.lower():
        return len(data) / _PCM, True
    rate = next((rate for name, rate in _PACKED.items() if name in content_type), _ANY_PACKED)
    return len(data) / rate, False
