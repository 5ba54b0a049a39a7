"""A line for each call that ended, and a reader that is too slow delays no call."""

from __future__ import annotations

import json
from pathlib import Path

from gateway.access_log import AccessLog, refused_line
from gateway.clock import FakeClock
from gateway.log_lines import MOST_WAITING, LineWriter
from gateway.storage.base import LedgerRow
from gateway.types import Principal
from tests.gateway.assembled import assembled
from tests.gateway.pipes import Pipe

EVERY_S = 0.25


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


async def test_a_call_is_one_line_with_what_all_its_attempts_cost(
    pipe: Pipe, clock: FakeClock
) -> None:
    """No error and no cost: their fields are left out."""
    writer = LineWriter(pipe)
    log = AccessLog(writer, clock)
    log.add(row(), 0, 0)
    log.add(row("req_2", error="timeout", cost_nano=12), 19, 1)
    await clock.advance(EVERY_S)
    log.hand_over()
    writer.close()
    first, second = map(json.loads, pipe.lines)
    assert first == {
        "at": 1_767_225_600.25, "id": "req_1", "user": "alice", "key": "key_1", "model": "minilm",
        "backend": "home", "reason": "", "route": "", "policy": "", "outcome": "success",
        "status": 200, "ms": 250.0, "queue_ms": 0.0, "cold_ms": 0.0, "exec_ms": 1.5,
    }  # fmt: skip
    assert (second["error"], second["cost_nano"], second["attempts"]) == ("timeout", 19, 1)


async def test_what_a_name_holds_cannot_begin_a_second_line(pipe: Pipe, clock: FakeClock) -> None:
    """A model's name comes from a policy, an error from anywhere."""
    writer = LineWriter(pipe)
    log = AccessLog(writer, clock)
    log.add(row(error='x"}\n{"id":"forged'), 0, 0)
    log.hand_over()
    writer.close()
    assert [json.loads(line)["id"] for line in pipe.lines] == ["req_1"]


async def test_more_lines_than_fit_into_one_period_are_dropped_and_counted(
    pipe: Pipe, clock: FakeClock
) -> None:
    writer = LineWriter(pipe)
    log = AccessLog(writer, clock)
    one = row()
    for _ in range(10_005):
        log.add(one, 0, 0)
    log.hand_over()
    writer.close(20)
    assert log.dropped == 5
    assert len(pipe.lines) == 10_000


async def test_behind_a_pipe_that_nobody_reads_whole_batches_are_dropped_and_counted(
    pipe: Pipe, clock: FakeClock
) -> None:
    """Calls go on; what was taken before is written once somebody reads again."""
    writer = LineWriter(pipe)
    log = AccessLog(writer, clock)
    pipe.gate.clear()
    for _ in range(3):
        for _ in range(MOST_WAITING // 2):
            log.add(row(), 0, 0)
        await clock.advance(EVERY_S)
    assert log.dropped == MOST_WAITING // 2
    pipe.gate.set()
    writer.close(20)
    assert len(pipe.lines) == MOST_WAITING + 1


async def test_without_a_writer_nothing_is_kept(clock: FakeClock) -> None:
    log = AccessLog(None, clock)
    log.add(row(), 0, 0)
    log.hand_over()
    assert log.dropped == 0


async def test_a_request_that_was_refused_has_a_line_without_what_only_a_call_has(
    clock: FakeClock, pipe: Pipe
) -> None:
    writer = LineWriter(pipe)
    log = AccessLog(writer, clock)
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
    log.hand_over()
    writer.close()
    [line] = map(json.loads, pipe.lines)
    assert (line["outcome"], line["status"], line["error"]) == (
        "refused",
        429,
        "rate_limit_exceeded",
    )
    assert (line["user"], line["key"], line["model"]) == ("alice", "key_1", "minilm")
    assert len(str(line["path"])) == 200


KEY = f"sg-{'S3cretKey9' * 4}"


async def test_a_key_in_the_place_of_an_id_is_repeated_by_nobody(
    tmp_path: Path, pipe: Pipe, clock: FakeClock
) -> None:
    """Neither by the answer nor by the access log: whoever reads that could use it."""
    writer = LineWriter(pipe)
    async with assembled(tmp_path, clock) as gateway:
        gateway.inner.access_log = AccessLog(writer, clock)
        async with gateway.client(gateway.key("root", admin=True)) as client:
            said = [
                await client.request(method, f"{path}{KEY}")
                for method, path in (("DELETE", "/admin/keys/"), ("GET", "/usage/"), ("GET", "/"))
            ]
    writer.close()
    assert [answer.status_code for answer in said] == [404, 404, 404]
    assert all("sg-***" in answer.text for answer in said)
    assert sum("sg-***" in line for line in pipe.lines) == 3
    assert not any("S3cret" in text for text in (*pipe.lines, *(one.text for one in said)))
