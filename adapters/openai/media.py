"""Whether a body is a sound, or a transcript in text. Pure.

Servers label what they send as they like, so a label says no more than what a body may be, and its
own first bytes go before it: an error in JSON or a web page is no sound, whatever it is called.
"""

from __future__ import annotations

from adapters.http.answers import is_web_page
from adapters.shapes.json_texts import value_of
from adapters.whole_events import BOM

_SOUNDS = ("audio/", "video/")
_ANY_BYTES = ("", "application/octet-stream", "binary/octet-stream", "application/ogg")
_EVENTS = "text/event-stream"
_TEXT = "text"
_TIMED = frozenset(("srt", "vtt"))
_ARROW = b"-->"
_LOOKED_AT = 256
"""Bytes at the start of a body of any kind that are looked at."""


def is_sound(body: bytes, label: str) -> bool:
    """Whether a body is the bytes of a sound, or of events that hold one."""
    kind = label.partition(";")[0].strip().lower()
    if not body or is_web_page(body, label) or _is_json(body):
        return False
    if kind.startswith(_SOUNDS):
        return True
    if kind == _EVENTS:
        return b"speech.audio." in body
    return kind in _ANY_BYTES and not _is_text(body[:_LOOKED_AT])


def is_transcript(body: bytes, label: str, asked: str) -> bool:
    """Whether a body is a transcript in text, where such was ``asked`` for, or with times."""
    if label.startswith(_EVENTS):
        return b"transcript.text." in body
    if not body or is_web_page(body, label) or _is_json(body):
        return False
    if _ARROW in body or body.startswith(b"WEBVTT"):
        return True
    return asked == _TEXT or (asked in _TIMED and not body.strip())


def _is_json(body: bytes) -> bool:
    """Whether it is an object or a list of JSON: a number or a word may be what was said."""
    if not body.removeprefix(BOM).lstrip().startswith((b"{", b"[")):
        return False
    return isinstance(value_of(body), dict | list)


def _is_text(start: bytes) -> bool:
    """Whether bytes are nothing but what can be read: no sound begins so."""
    return start.isascii() and start.decode().replace("\n", "").replace("\r", "").isprintable()
