"""What workers print, cut into lines and passed on."""

from __future__ import annotations

import io
import threading

from hypothesis import given
from hypothesis import strategies as st

from local_runtime.supervisor.logs import MAX_LINE, MAX_WAITING, LineSplitter, LogWriter
from tests.waiting import wait_until


@given(
    lines=st.lists(st.binary(max_size=30).map(lambda b: b.replace(b"\n", b"."))),
    cut=st.integers(1, 9),
)
def test_lines_come_out_whole_however_the_bytes_arrive(lines: list[bytes], cut: int) -> None:
    """In order, each once."""
    data, splitter, got = b"".join(line + b"\n" for line in lines), LineSplitter(), []
    for start in range(0, len(data), cut):
        got += splitter.feed(data[start : start + cut])
    assert got == lines
    assert splitter.flush() == []


def test_a_line_without_an_end_is_cut_before_it_fills_the_memory() -> None:
    """A progress bar may never end its line."""
    splitter = LineSplitter()
    got = splitter.feed(b"x" * (3 * MAX_LINE + 5))
    assert [len(line) for line in got] == [MAX_LINE] * 3
    assert splitter.flush() == [b"x" * 5]


def test_the_last_lines_are_kept_to_say_why_a_worker_died() -> None:
    """Empty ones say nothing."""
    splitter = LineSplitter()
    splitter.feed(b"".join(b"line %d\n\n" % n for n in range(50)))
    assert list(splitter.tail)[-1] == b"line 49"
    assert len(splitter.tail) == 20


class Gate(io.BytesIO):
    """A stream that takes nothing until it is opened."""

    def __init__(self) -> None:
        super().__init__()
        self.open = threading.Event()

    def write(self, data: object) -> int:
        self.open.wait(10)
        return super().write(data)  # type: ignore[arg-type]


def test_a_reader_that_does_not_read_costs_lines_and_never_time() -> None:
    """Whoever writes is not held up; how many lines were left out is said."""
    gate = Gate()
    writer = LogWriter(gate)
    for number in range(2 * MAX_WAITING):
        writer.write(b"%d" % number)
    gate.open.set()
    wait_until(lambda: gate.getvalue().count(b"\n") >= MAX_WAITING, "there is room again")
    writer.write(b"the last")
    writer.close()
    lines = gate.getvalue().splitlines()
    assert lines[0] == b"0"
    assert lines[-1] == b"the last"
    reports = [line for line in lines if line.endswith(b" lines left out")]
    left_out = sum(int(line.split()[1]) for line in reports)
    assert left_out > 0
    assert left_out + len(lines) - len(reports) - 1 == 2 * MAX_WAITING
