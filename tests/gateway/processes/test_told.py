"""A process is told on its command line, and nothing is lost on the way."""

from __future__ import annotations

from gateway.processes.told import Told, told


def test_what_a_process_is_told_is_read_as_it_was_written() -> None:
    what = Told(
        number=3,
        parent=7,
        listeners=(4, 5),
        of=2,
        counts=9,
        places=8,
        place=1,
        folders={"home": "/run/x y"},
        waits=True,
    )
    assert told(what.as_argument()) == what
