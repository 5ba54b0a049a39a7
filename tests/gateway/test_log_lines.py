"""The log of a gateway in trouble can still be read, and nobody waits for whoever reads it."""

from __future__ import annotations

import json
import logging
import os
import sys
import warnings

from gateway.log_lines import (
    MOST_WAITING,
    REQUEST_ID,
    LineFormatter,
    LineHandler,
    LineStream,
    LineWriter,
    NoEcho,
    all_through,
    writer_to,
)
from tests.gateway.pipes import Pipe
from tests.waiting import wait_until


def logger_to(writer: LineWriter) -> logging.Logger:
    logger = logging.Logger("spillgate", logging.INFO)
    logger.addHandler(LineHandler(writer))
    return logger


def said_at(seconds: float, text: str, *values: object) -> logging.LogRecord:
    record = logging.LogRecord("spillgate", logging.ERROR, "", 0, text, values, None)
    record.created = seconds
    return record


def said(line: str) -> str:
    """What an entry says after its time."""
    return line.partition("Z ")[2]


# --- the writer ----------------------------------------------------------------------------------


def test_lines_are_written_whole_and_in_order(pipe: Pipe) -> None:
    writer = LineWriter(pipe)
    for number in range(100):
        writer.put(1, f"line {number}\n".encode)
    writer.close()
    assert pipe.lines == [f"line {number}" for number in range(100)]


def test_lines_that_nobody_reads_are_dropped_and_owned_up_to_once_somebody_does(
    pipe: Pipe,
) -> None:
    """Whoever logs goes on at once; nothing of what was taken is lost."""
    writer = LineWriter(pipe)
    pipe.gate.clear()
    taken = [writer.put(1, f"line {number}\n".encode) for number in range(MOST_WAITING + 3)]
    assert taken == [True] * MOST_WAITING + [False] * 3
    assert writer.dropped == 3
    pipe.gate.set()
    writer.close(20)
    told = "WARNING spillgate: 3 log lines were dropped: nobody read them in time"
    assert told in [said(line) for line in pipe.lines]
    assert len(pipe.lines) == MOST_WAITING + 1


def test_a_reader_that_never_comes_back_holds_up_the_end_no_longer_than_it_may(pipe: Pipe) -> None:
    writer = LineWriter(pipe)
    pipe.gate.clear()
    writer.put(1, "lost\n".encode)
    assert pipe.entered.wait(20)
    writer.close(0.01)
    assert not writer.put(1, "too late\n".encode)
    assert pipe.lines == []


def test_a_broken_pipe_costs_lines_and_not_the_log(pipe: Pipe) -> None:
    """The reader may come back, and learns then how much was lost."""
    writer = LineWriter(pipe)
    pipe.refuses = True
    writer.put(2, lambda: b"one\ntwo\n")
    wait_until(lambda: writer.dropped == 2)
    pipe.refuses = False
    writer.put(1, lambda: b"three\n")
    writer.close()
    assert pipe.lines[0] == "three"
    assert "2 log lines were dropped" in pipe.lines[1]


def test_a_line_that_cannot_be_made_costs_itself_alone(pipe: Pipe) -> None:
    writer = LineWriter(pipe)
    writer.put(1, lambda: str(1 // 0).encode())
    writer.put(1, lambda: b"next\n")
    writer.close()
    assert pipe.lines[0] == "next"
    assert writer.dropped == 1


def test_one_write_to_a_pipe_is_small_enough_to_be_taken_whole(pipe: Pipe) -> None:
    """What worker processes print there too is not mixed into a line."""
    writer = LineWriter(pipe, at_once=100)
    lines = b"".join(b"%03d %s\n" % (number, b"x" * 40) for number in range(50))
    writer.put(50, lambda: lines + b"y" * 150 + b"\nz\n")
    writer.close()
    assert pipe.getvalue() == lines + b"y" * 150 + b"\nz\n"
    assert all(len(write) <= 100 or write == b"y" * 150 + b"\n" for write in pipe.writes)
    assert all(write.endswith(b"\n") for write in pipe.writes)


def test_a_pipe_set_not_to_block_is_waited_for() -> None:
    """A program that shares the terminal may have set it so."""
    reader, end = os.pipe()
    os.set_blocking(end, False)
    writer = writer_to(end)
    line = b"x" * 4000 + b"\n"
    for _ in range(100):
        writer.put(1, lambda: line)
    got = b""
    while len(got) < 100 * len(line):
        got += os.read(reader, 65536)
    writer.close()
    assert got == line * 100
    assert writer.dropped == 0
    os.close(reader)
    os.close(end)


# --- what a line holds ---------------------------------------------------------------------------


def test_an_entry_begins_with_its_time() -> None:
    """In UTC, to the millisecond, whatever the machine's own zone."""
    assert (
        LineFormatter()
        .format(said_at(1_767_225_600.25, "x"))
        .startswith("2026-01-01T00:00:00.250Z ERROR spillgate: x")
    )


def test_the_words_of_a_backend_cannot_begin_a_line_of_their_own(pipe: Pipe) -> None:
    writer = LineWriter(pipe)
    words = "no\r\nERROR spillgate: forged\x1b[2J\u2028ERROR spillgate: forged \x85\x9b"
    logger_to(writer).warning("call %s failed: %s", "req_1", words)
    writer.close()
    (line,) = pipe.getvalue().decode().split("\n")[:-1]
    assert said(line).startswith("WARNING spillgate: call req_1 failed: no\\r\\nERROR")
    assert line.isprintable()


def test_a_traceback_stands_indented_below_its_entry(pipe: Pipe) -> None:
    """The words of an exception cannot be taken for an entry either."""
    writer = LineWriter(pipe)
    try:
        raise ValueError("bad\nERROR spillgate: forged")
    except ValueError:
        logger_to(writer).exception("request %s failed", "req_1")
    writer.close()
    first, *rest = pipe.lines
    assert said(first) == "ERROR spillgate: request req_1 failed"
    assert "    Traceback (most recent call last):" in rest
    assert "    ERROR spillgate: forged" in rest
    assert all(line.startswith("    ") for line in rest)


def test_an_entry_says_what_held_when_it_was_logged(pipe: Pipe) -> None:
    writer = LineWriter(pipe)
    pipe.gate.clear()
    seen = ["a"]
    logger_to(writer).info("seen: %s", seen)
    seen.append("b")
    pipe.gate.set()
    writer.close()
    assert [said(line) for line in pipe.lines] == ["INFO spillgate: seen: ['a']"]


def test_arguments_that_do_not_fit_their_text_hurt_no_caller(pipe: Pipe) -> None:
    writer = LineWriter(pipe)
    logger_to(writer).info("%d calls", "some")
    writer.close()
    (line,) = pipe.lines
    assert said(line).startswith("INFO spillgate: %d calls (TypeError")


def test_an_endless_line_is_cut() -> None:
    text = LineFormatter().format(said_at(1.0, "x" * 1_000_000))
    assert len(text) < 20_000
    assert text.endswith("...")


def test_what_a_library_prints_is_put_in_line_and_marked(pipe: Pipe) -> None:
    writer = LineWriter(pipe)
    stream = LineStream(writer, 2)
    print("half", end="", file=stream)
    print(" a line\nERROR spillgate: forged", file=stream)
    writer.close()
    assert pipe.lines == ["stderr: half a line", "stderr: ERROR spillgate: forged"]


def test_warnings_and_what_cannot_be_raised_go_the_same_way(pipe: Pipe) -> None:
    class Broken:
        def __del__(self) -> None:
            raise ValueError("in a destructor")

    before = sys.stderr
    with all_through(LineWriter(pipe)):
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn("old", stacklevel=1)
        logging.getLogger("some.library").info("started")
        sys.unraisablehook, hook = sys.__unraisablehook__, sys.unraisablehook
        try:
            Broken()
        finally:
            sys.unraisablehook = hook
    text = "\n".join(pipe.lines)
    assert "UserWarning: old" in text
    assert "INFO some.library: started" in text
    assert "stderr: ValueError: in a destructor" in text
    assert sys.stderr is before


# --- news is told once ---------------------------------------------------------------------------


def test_the_same_news_is_told_once_a_second() -> None:
    echo = NoEcho()
    told = [echo.filter(said_at(n / 100, "store unavailable: %s", "gone")) for n in range(250)]
    assert [n for n, yes in enumerate(told) if yes] == [0, 100, 200]


def test_what_differs_is_told_however_fast_it_comes() -> None:
    """Each call that fails at a backend has a line of its own; and old texts are not kept."""
    echo = NoEcho()
    assert all(echo.filter(said_at(5.0, "call %d failed", n)) for n in range(1000))
    assert not echo.filter(said_at(5.5, "call %d failed", 999))


# --- as JSON, and whose lines they are -----------------------------------------------------------


def test_a_line_says_which_request_was_answered_meanwhile(pipe: Pipe) -> None:
    """Once: a line that names it anyhow does not say it twice."""
    writer = LineWriter(pipe)
    log = logger_to(writer)
    before = REQUEST_ID.set("req_7")
    log.warning("the store is slow")
    log.warning("call req_7 failed")
    REQUEST_ID.reset(before)
    log.warning("nobody asked")
    writer.close()
    assert [said(line) for line in pipe.lines] == [
        "WARNING spillgate: the store is slow [req_7]",
        "WARNING spillgate: call req_7 failed",
        "WARNING spillgate: nobody asked",
    ]


def test_every_line_is_an_object_where_the_log_is_to_be_json(pipe: Pipe) -> None:
    """Tracebacks, what libraries print, and words that would break a line too."""
    writer = LineWriter(pipe)
    writer.as_json = True
    log = logger_to(writer)
    before = REQUEST_ID.set("req_7")
    try:
        raise ValueError("in\ntwo lines")
    except ValueError:
        log.exception("it \x1b[31mfailed\n%s", "\udcff")
    REQUEST_ID.reset(before)
    LineStream(writer, 2).write("a library says\n")
    writer.close()
    failed, printed = map(json.loads, pipe.lines)
    assert (failed["level"], failed["logger"], failed["request_id"]) == (
        "ERROR",
        "spillgate",
        "req_7",
    )
    assert failed["message"].startswith("it \x1b[31mfailed\n")
    assert printed["message"] == "a library says"
    assert printed["logger"] == "stderr"


def test_a_traceback_is_a_field_of_its_line(pipe: Pipe) -> None:
    writer = LineWriter(pipe)
    writer.as_json = True
    try:
        raise ValueError("in\ntwo lines")
    except ValueError:
        logger_to(writer).exception("it failed")
    writer.close()
    [line] = pipe.lines
    assert json.loads(line)["details"].endswith("ValueError: in\ntwo lines")
