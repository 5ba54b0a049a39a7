"""How long a sound is, by its own bytes. Pure.

WAVE: https://www.mmsp.ece.mcgill.ca/Documents/AudioFormats/WAVE/WAVE.html. OpenAI's ``pcm`` is raw
24 kHz, 16 bits, one channel, and its ``mp3`` 128 kbit/s or less
(https://platform.openai.com/docs/guides/text-to-speech): of what is compressed, and does not say,
the length is an estimate.
"""

from __future__ import annotations

_HEAD = 44
_PCM = 48_000
_PACKED = {"mpeg": 16_000, "mp3": 16_000, "aac": 16_000, "opus": 4_000, "ogg": 4_000}
"""Bytes a second, about, by the name of the format in a Content-Type."""
_ANY_PACKED = 16_000


def seconds_of_wav(data: bytes) -> float | None:
    """Of a WAVE file, by its head and its size; None where it is none."""
    if len(data) < _HEAD or not data.startswith(b"RIFF") or data[8:12] != b"WAVE":
        return None
    a_second = int.from_bytes(data[28:32], "little")
    return (len(data) - _HEAD) / a_second if a_second else None


def seconds_of_sound(data: bytes, content_type: str) -> tuple[float, bool]:
    """(Seconds, whether that is exact) of a whole sound."""
    exact = seconds_of_wav(data)
    if exact is not None:
        return exact, True
    if "pcm" in content_type or "l16" in content_type.lower():
        return len(data) / _PCM, True
    rate = next((rate for name, rate in _PACKED.items() if name in content_type), _ANY_PACKED)
    return len(data) / rate, False
