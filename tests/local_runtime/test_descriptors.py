"""A server takes all descriptors that it may have; its user's programs have what they know."""

from __future__ import annotations

import resource
from collections.abc import Iterator

import pytest

from local_runtime.descriptors import SOFT_LIMIT, limit, raise_limit, restore_limit


@pytest.fixture
def lowered() -> Iterator[tuple[int, int]]:
    """This process with a soft limit below its hard one."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowered = (before[0] - 1, before[1])
    resource.setrlimit(resource.RLIMIT_NOFILE, lowered)
    yield lowered
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_the_soft_limit_becomes_the_hard_one_and_can_be_given_back(
    lowered: tuple[int, int],
) -> None:
    environ: dict[str, str] = {}
    assert raise_limit(environ) == limit() > lowered[0]
    assert environ == {SOFT_LIMIT: str(lowered[0])}
    restore_limit(environ)
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == lowered


def test_a_limit_that_is_raised_already_is_left_and_the_first_word_of_it_stays(
    lowered: tuple[int, int],
) -> None:
    """A server that a server has started gives back what was there before both."""
    environ = {SOFT_LIMIT: "64"}
    raise_limit(environ)
    assert raise_limit(environ) == limit()
    assert environ == {SOFT_LIMIT: "64"}


@pytest.mark.parametrize("word", ["", "many", "-1", "99999999999999999999999"])
def test_a_word_that_is_no_limit_changes_nothing(word: str) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    restore_limit({SOFT_LIMIT: word})
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == before
