"""A line for each call that ended, and a reader that is too slow delays no call."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator

import pytest

from gateway.access_log import AccessLog, refused_line
from gateway.clock import FakeClock
from gateway.storage.base import LedgerRow
from gateway.types import Principal
from tests.waiting import wait_until

EVERY_S = 0.25


class Pipe(io.BytesIO):
    """Keeps what is written; while the gate is shut, whoever writes waits, as for a full pipe."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.refuses = False

    def write(self, data: object) -> int:
        self.entered.set()
        assert self.gate.wait(20)
        if self.refuses:
            raise BrokenPipeError
        return super().write(data)  # type: ignore[arg-type]

    @property
    def lines(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.getvalue().splitlines()]


def row(id: str = "req_1", **fields: object) -> LedgerRow:
    values: dict[str, object] = {
        "outcome": "success",
        "started_at": 1_767_225_600.0,
        "ended_at": 1_767_225_600.25,
        "key_id": "key_1",
        "user": "alice",
        "model": "minilm",
        "task": "embeddings",
        "backend": "home",
        "status": 200,
        "exec_us": 1500,
    }
    return LedgerRow(id=id, **(values | fields))  # type: ignore[arg-type]


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.gate.set()


async def test_a_call_is_one_line_that_holds_no_more_than_its_row(
    pipe: Pipe, clock: FakeClock
) -> None:
    """No error and no cost: their fields are left out."""
    log = AccessLog(pipe, clock)
    log.start()
    log.add(row(), 0)
    log.add(row("req_2", error="timeout", cost_nano=12), 1)
    await clock.advance(EVERY_S)
    log.close()
    first, second = pipe.lines
    assert first == {
        "at": 1_767_225_600.25, "id": "req_1", "user": "alice", "key": "key_1", "model": "minilm",
        "backend": "home", "reason": "", "route": "", "policy": "", "outcome": "success",
        "status": 200, "ms": 250.0, "queue_ms": 0.0, "cold_ms": 0.0, "exec_ms": 1.5,
    }  # fmt: skip
    assert (second["error"], second["cost_nano"], second["attempts"]) == ("timeout", 12, 1)


async def test_what_a_name_holds_cannot_begin_a_second_line(pipe: Pipe, clock: FakeClock) -> None:
    """A model's name comes from a policy, an error from anywhere."""
    log = AccessLog(pipe, clock)
    log.start()
    log.add(row(error='x"}\n{"id":"forged'), 0)
    log.close()
    assert [line["id"] for line in pipe.lines] == ["req_1"]


async def test_behind_a_pipe_that_nobody_reads_lines_are_dropped_and_counted(
    pipe: Pipe, clock: FakeClock
) -> None:
    """One batch is being written and eight wait; the tenth is dropped, and the rest is kept."""
    log = AccessLog(pipe, clock)
    log.start()
    pipe.gate.clear()
    for number in range(12):
        log.add(row(f"req_{number}"), 0)
        await clock.advance(EVERY_S)
        if number == 0:
            wait_until(pipe.entered.is_set)
    assert log.dropped == 3
    pipe.gate.set()
    log.close()
    assert [line["id"] for line in pipe.lines] == [f"req_{number}" for number in range(9)]


async def test_more_lines_than_fit_into_one_period_are_dropped_and_counted(
    pipe: Pipe, clock: FakeClock
) -> None:
    log = AccessLog(pipe, clock)
    log.start()
    one = row()
    for _ in range(10_005):
        log.add(one, 0)
    log.close()
    assert log.dropped == 5
    assert len(pipe.lines) == 10_000


async def test_a_pipe_that_breaks_costs_lines_and_not_the_log(pipe: Pipe, clock: FakeClock) -> None:
    """The reader may come back."""
    log = AccessLog(pipe, clock)
    log.start()
    pipe.refuses = True
    log.add(row(), 0)
    await clock.advance(EVERY_S)
    wait_until(lambda: log.dropped == 1)
    pipe.refuses = False
    log.add(row("req_2"), 0)
    log.close()
    assert [line["id"] for line in pipe.lines] == ["req_2"]


async def test_without_a_target_nothing_is_kept(clock: FakeClock) -> None:
    log = AccessLog(None, clock)
    log.start()
    log.add(row(), 0)
    log.close()
    assert log.dropped == 0


async def test_a_request_that_was_refused_has_a_line_without_what_only_a_call_has(
    clock: FakeClock, pipe: Pipe
) -> None:
    log = AccessLog(pipe, clock)
    log.start()
    log.add_refused(
        refused_line(
            at=clock.time(),
            id="req_1",
            principal=Principal(key_id="key_1", user="alice"),
            model="minilm",
            policy="v1",
            status=429,
            code="rate_limit_exceeded",
            ms=0.25,
            path="/v1/embeddings" + "/x" * 500,
        )
    )
    log.close()
    [line] = pipe.lines
    assert (line["outcome"], line["status"], line["error"]) == (
        "refused",
        429,
        "rate_limit_exceeded",
    )
    assert (line["user"], line["key"], line["model"]) == ("alice", "key_1", "minilm")
    assert len(str(line["path"])) == 200
