"""What a start has made is spared; what calls leave behind is not."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from local_runtime import gc_tuning


class Knot:
    """Holds itself."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    thresholds = gc.get_threshold()
    yield
    gc.set_threshold(*thresholds)
    gc.unfreeze()


def test_what_is_there_is_not_looked_through_again() -> None:
    gc_tuning.freeze()
    assert gc.get_freeze_count() > 1000
    assert len(gc.get_objects()) < gc.get_freeze_count()


def test_garbage_of_the_start_goes_before_the_rest_is_spared() -> None:
    garbage = weakref.ref(Knot())
    gc_tuning.freeze()
    assert garbage() is None


def test_cycles_that_are_made_later_are_collected_as_ever() -> None:
    gc_tuning.relax()
    later = weakref.ref(Knot())
    gc.collect()
    assert later() is None


def test_what_is_imported_is_neither_looked_through_meanwhile_nor_ever_again() -> None:
    with gc_tuning.importing():
        assert not gc.isenabled()
        made = Knot()
    assert gc.isenabled()
    assert not any(one is made for one in gc.get_objects())


def test_a_collector_that_was_off_stays_off_after_imports() -> None:
    gc.disable()
    try:
        with gc_tuning.importing():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
