"""Samples of py-spy are added up by function and by file."""

from __future__ import annotations

from benchmarks.gateway.processes import ROOT
from benchmarks.profile_gateway import read_profile, tables

RAW = f"""\
run (/x/lib/python3.11/site-packages/uvloop/__init__.py:7);ask ({ROOT}/gateway/door.py:3) 30
run (/x/lib/python3.11/site-packages/uvloop/__init__.py:9);ask ({ROOT}/gateway/door.py:8) 10
run (/x/lib/python3.11/site-packages/uvloop/__init__.py:7);ask ({ROOT}/gateway/door.py:3);write 60
run (/x/lib/python3.11/site-packages/uvloop/__init__.py:7);epoll_pwait (libc.so.6) 900
"""


def test_the_lines_of_one_function_add_up() -> None:
    profile = read_profile(RAW)
    assert profile.itself == {"ask (gateway/door.py)": 40, "write": 60}
    assert profile.within["ask (gateway/door.py)"] == 100


def test_time_spent_waiting_is_no_cpu() -> None:
    assert read_profile(RAW).total == 100


def test_a_function_that_calls_itself_counts_once_a_stack() -> None:
    assert read_profile("a (x.py:1);a (x.py:1) 5").within == {"a (x.py)": 5}


def test_shares_are_also_shown_as_parts_of_one_request() -> None:
    text = tables(read_profile(RAW), rows=5, microseconds=200.0)
    assert "60.0%  120.0" in text
