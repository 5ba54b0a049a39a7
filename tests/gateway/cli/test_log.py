"""The log of a gateway in trouble can still be read."""

from __future__ import annotations

import logging

from gateway.cli.serve import NoEcho


def said_at(seconds: float, text: str, *values: object) -> logging.LogRecord:
    record = logging.LogRecord("spillgate", logging.ERROR, "", 0, text, values, None)
    record.created = seconds
    return record


def test_the_same_news_is_told_once_a_second() -> None:
    echo = NoEcho()
    told = [echo.filter(said_at(n / 100, "store unavailable: %s", "gone")) for n in range(250)]
    assert [n for n, yes in enumerate(told) if yes] == [0, 100, 200]


def test_what_differs_is_told_however_fast_it_comes() -> None:
    """Each call that fails at a backend has a line of its own; and old texts are not kept."""
    echo = NoEcho()
    assert all(echo.filter(said_at(5.0, "call %d failed", n)) for n in range(1000))
    assert not echo.filter(said_at(5.5, "call %d failed", 999))
