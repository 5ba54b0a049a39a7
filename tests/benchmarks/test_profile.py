"""Samples of py-spy are shared out by thread, and added up by function and by file."""

from __future__ import annotations

import pytest

from benchmarks.gateway.processes import ROOT
from benchmarks.profile_gateway import read_profile, tables

LIBRARY = "/x/lib/python3.11/site-packages/uvloop/__init__.py"
RAW = f"""\
thread (7): MainThread;run ({LIBRARY}:7);ask ({ROOT}/gateway/door.py:3) 30
thread (7): MainThread;run ({LIBRARY}:9);ask ({ROOT}/gateway/door.py:8) 10
thread (7): MainThread;run ({LIBRARY}:7);ask ({ROOT}/gateway/door.py:3);write 60
thread (8): writer;take (queue.py:1) 900
"""


def test_the_lines_of_one_function_add_up() -> None:
    profile = read_profile(RAW, {7: 100.0, 8: 0.0})
    assert profile.itself["ask (gateway/door.py)"] == pytest.approx(40)
    assert profile.within["ask (gateway/door.py)"] == pytest.approx(100)
    assert profile.files["gateway/door.py"] == pytest.approx(40)


def test_a_thread_that_waits_is_charged_only_what_it_used() -> None:
    """It has nine of ten samples here, and a twentieth of the time."""
    profile = read_profile(RAW, {7: 190.0, 8: 10.0})
    assert profile.itself["take (queue.py)"] == pytest.approx(10)
    assert sum(profile.itself.values()) == pytest.approx(200)


def test_a_function_that_calls_itself_counts_once_a_stack() -> None:
    profile = read_profile("thread (7): MainThread;a (x.py:1);a (x.py:1) 5", {7: 3.0})
    assert profile.within == {"a (x.py)": pytest.approx(3.0)}


def test_the_greatest_come_first_with_their_share() -> None:
    lines = tables(read_profile(RAW, {7: 190.0, 8: 10.0}), rows=5).splitlines()
    assert lines[2].split() == ["thread", "(7):", "MainThread", "190.0", "95.0%"]
    assert lines[3].split() == ["thread", "(8):", "writer", "10.0", "5.0%"]
