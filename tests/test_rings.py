"""The quick ring names files that there are, and notices who starts a process."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests import rings


@pytest.mark.parametrize("name", rings.OUTER)
def test_what_is_left_out_is_there(name: str) -> None:
    """A file that was moved would come into the ring unseen, slow as it is."""
    assert (rings.TESTS / name).exists()


def test_the_list_is_in_order_and_nothing_stands_under_a_folder_of_it() -> None:
    assert list(rings.OUTER) == sorted(set(rings.OUTER))
    assert not [one for one in rings.OUTER for other in rings.OUTER if one.startswith(f"{other}/")]


def test_a_process_is_noticed() -> None:
    watch = rings.Watch()
    assert watch.take() == []
    subprocess.run([sys.executable, "-c", ""], check=True)
    (seen,) = watch.take()
    assert sys.executable in seen
    with pytest.raises(AssertionError, match=r"list its file in tests/rings\.py"):
        rings.assert_it_was_quick(rings.TESTS / "gateway" / "test_of_tomorrow.py", [seen])
    rings.assert_it_was_quick(rings.TESTS / "e2e" / "test_of_tomorrow.py", [seen])
