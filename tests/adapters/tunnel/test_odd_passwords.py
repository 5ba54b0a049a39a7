"""A proxy's password is in no error, whatever characters it has, and makes no other host of it."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from adapters.proxies import Proxy, proxy_for, proxy_of

ODD = st.text(st.sampled_from("%?#/\\[]@:&=+ \t\n\"'1é℀\udcff\x00") | st.characters(), max_size=8)


def asked(named: str) -> Proxy | ValueError:
    """The proxy that the environment names, or what is raised in place of one."""
    try:
        found = proxy_for("api.example", True, None, None, {"HTTPS_PROXY": named})
    except ValueError as error:
        return error
    assert found is not None
    return found


def check(found: Proxy | ValueError) -> None:
    if isinstance(found, Proxy):
        assert found[:2] == ("proxy", 3128)
    else:
        assert str(found) == "a proxy is http://HOST:PORT"
        assert found.__cause__ is None
        assert found.__suppress_context__


@given(ODD)
@example("se%cret?x")
@example("1234?x")
@example("1234#x")
@example("1234/x")
@example("se℀cret")
@example("se[cret")
def test_the_host_is_the_proxys_or_there_is_an_error_that_repeats_nothing(odd: str) -> None:
    for named in (f"http://user:{odd}@proxy:3128", f"user:{odd}@proxy:3128"):
        check(asked(named))


@given(ODD)
def test_what_stands_behind_the_port_is_not_repeated(odd: str) -> None:
    check(asked(f"http://user:pw@proxy:3128x{odd}@proxy:3128"))


@given(ODD)
def test_neither_is_a_password_that_is_given_by_itself(odd: str) -> None:
    found: Proxy | ValueError
    try:
        found = proxy_of("http://proxy:3128", f"user:{odd}")
    except ValueError as error:
        found = error
    check(found)


@pytest.mark.parametrize("port", ["0x1", "99999", "-1", "se%cret", "１２"])
def test_a_port_that_is_none_is_no_proxy(port: str) -> None:
    with pytest.raises(ValueError, match="a proxy is http://HOST:PORT"):
        proxy_of(f"http://proxy:{port}")
