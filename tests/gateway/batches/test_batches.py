"""A batch runs each of its lines once, by its caller's own limits, and says what became of each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from adapters.errors import BackendError, FailureClass
from gateway.clock import FakeClock, SystemClock
from gateway.files.bucket import BucketContents
from gateway.storage.queries import UsageQuery
from tests.gateway.batches.gateways import ENDED, input_of, with_batches
from tests.gateway.files.places import bucket_running


async def test_each_line_is_answered_once_at_the_ledgers_cost(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with with_batches(tmp_path, clock) as gateway, gateway.client() as client:
        accepted = await gateway.batch(client, input_of({"x": n} for n in range(70)))
        ended = await gateway.until_status(client, accepted["id"], *ENDED)
        lines = await gateway.lines(client, ended["output_file_id"])

        assert accepted["status"] == "validating"
        assert ended["status"] == "completed"
        assert ended["request_counts"] == {"total": 70, "completed": 70, "failed": 0}
        assert ended["error_file_id"] is None
        assert [line["custom_id"] for line in lines] == [f"c{n}" for n in range(1, 71)]
        assert {line["response"]["status_code"] for line in lines} == {200}
        assert lines[0]["response"]["body"] == {"ok": True}
        bodies = [call.body for call in gateway.fake("home").calls]
        assert sorted(bodies) == sorted(b'{"x": %d}' % n for n in range(70))
        tagged = await gateway.inner.ledger.usage(UsageQuery(where={"tag:batch": accepted["id"]}))
        assert sum(row.calls for row in tagged.rows) == 70
        cost = sum(row.cost_nano for row in tagged.rows)
        assert ended["cost_usd"] == f"{cost / 1e9:f}".rstrip("0").rstrip(".")


async def test_a_broken_line_is_told_by_its_number_before_anything_is_run(
    tmp_path: Path, clock: FakeClock
) -> None:
    lines = input_of({"x": n} for n in range(20)).splitlines(keepends=True)
    lines[16] = b'{"custom_id": "c17", oh\n'
    lines[18] = lines[3]
    async with with_batches(tmp_path, clock) as gateway, gateway.client() as client:
        batch = await gateway.batch(client, b"".join(lines))
        failed = await gateway.until_status(client, batch["id"], *ENDED)
        first, second = failed["errors"]["data"]
        assert failed["status"] == "failed"
        assert (first["line"], first["code"]) == (17, "invalid_json_line")
        assert (second["line"], second["code"]) == (19, "duplicate_custom_id")
        assert gateway.fake("home").calls == []


async def test_a_line_that_cannot_be_called_is_an_error_of_its_own(
    tmp_path: Path, clock: FakeClock
) -> None:
    bodies: list[dict[str, Any]] = [
        {"model": "chat", "messages": [{"role": "user", "content": "hi"}]},
        {"model": "nobody", "messages": [{"role": "user", "content": "hi"}]},
        {"model": "chat"},
        {"model": "chat", "messages": [{"role": "user", "content": "hi"}], "stream": True},
    ]
    async with with_batches(tmp_path, clock) as gateway, gateway.client() as client:
        data = input_of(bodies, "/v1/chat/completions")
        batch = await gateway.batch(client, data, "/v1/chat/completions")
        ended = await gateway.until_status(client, batch["id"], *ENDED)
        errors = await gateway.lines(client, ended["error_file_id"])
        assert ended["request_counts"] == {"total": 4, "completed": 1, "failed": 3}
        assert [one["custom_id"] for one in errors] == ["c2", "c3", "c4"]
        assert [one["response"]["status_code"] for one in errors] == [404, 400, 400]
        assert errors[1]["response"]["body"]["error"]["param"] == "messages"
        assert errors[1]["line"] == 3


async def test_a_line_that_fails_says_so_and_the_others_go_on(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with with_batches(tmp_path, clock) as gateway, gateway.client() as client:
        gateway.fake("home").tell(BackendError(FailureClass.INVALID, "`x` must be a text."))
        batch = await gateway.batch(client, input_of([{"x": 1}, {"x": 2}]))
        ended = await gateway.until_status(client, batch["id"], *ENDED)
        [error] = await gateway.lines(client, ended["error_file_id"])
        assert ended["request_counts"]["completed"] == 1
        assert error["response"]["body"]["error"]["message"] == "`x` must be a text."


async def test_a_budget_is_never_passed_and_what_is_left_is_told(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with with_batches(tmp_path, clock) as gateway, gateway.client() as client:
        headers = {"X-Spillgate-Budget": "0.05 USD"}
        data = input_of([{"x": n} for n in range(20)], "/v1/infer/far")
        batch = await gateway.batch(client, data, "/v1/infer/far", headers=headers)
        ended = await gateway.until_status(client, batch["id"], *ENDED)
        errors = await gateway.lines(client, ended["error_file_id"])
        counts = ended["request_counts"]
        assert ended["budget_usd"] == "0.05"
        assert 0 < counts["completed"] < 20
        assert float(ended["cost_usd"]) <= 0.05
        assert counts["completed"] + counts["failed"] == 20
        assert {one["error"]["code"] for one in errors} == {"batch_budget_reached"}
        assert len(gateway.platform.jobs) == counts["completed"]


async def test_a_batch_that_is_cancelled_stops_and_keeps_what_it_has(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with with_batches(tmp_path, clock) as gateway, gateway.client() as client:
        data = input_of([{"x": n} for n in range(50)], "/v1/infer/far")
        batch = await gateway.batch(client, data, "/v1/infer/far")
        await gateway.until_status(client, batch["id"], "in_progress")
        stopping = (await client.post(f"/v1/batches/{batch['id']}/cancel")).json()
        ended = await gateway.until_status(client, batch["id"], *ENDED)
        counts = ended["request_counts"]
        lines = await gateway.lines(client, ended["output_file_id"])
        errors = await gateway.lines(client, ended["error_file_id"])
        assert stopping["status"] == "cancelling"
        assert ended["status"] == "cancelled"
        assert len(lines) + len(errors) == 50 == counts["completed"] + counts["failed"]
        assert {one["error"]["code"] for one in errors} == {"batch_cancelled"}


async def test_a_batch_past_its_time_is_expired_and_says_what_was_not_done(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with with_batches(tmp_path, clock) as gateway, gateway.client() as client:
        gateway.platform.full = True
        data = input_of([{"x": n} for n in range(50)], "/v1/infer/far")
        batch = await gateway.batch(client, data, "/v1/infer/far", completion_window="2m")
        ended = await gateway.until_status(client, batch["id"], *ENDED, step=5.0)
        errors = await gateway.lines(client, ended["error_file_id"])
        assert ended["status"] == "expired"
        assert [one["custom_id"] for one in errors] == [f"c{n}" for n in range(1, 51)]
        assert {one["error"]["code"] for one in errors} == {"batch_expired"}


REFUSED = [
    pytest.param({"endpoint": "/v1/nowhere"}, "endpoint", id="endpoint"),
    pytest.param({"completion_window": "soon"}, "completion_window", id="window"),
    pytest.param({"completion_window": "30d"}, "completion_window", id="too long"),
    pytest.param(
        {"metadata": {"spillgate_budget": "much"}}, "metadata.spillgate_budget", id="budget"
    ),
    pytest.param({"metadata": {"k" * 65: "v"}}, "metadata", id="metadata"),
    pytest.param({"input_file_id": "file_none"}, "file", id="file"),
]


@pytest.mark.parametrize(("changed", "param"), REFUSED)
async def test_what_cannot_be_asked_is_refused_by_its_field(
    changed: dict[str, Any], param: str, tmp_path: Path, clock: FakeClock
) -> None:
    async with with_batches(tmp_path, clock) as gateway, gateway.client() as client:
        good = {
            "input_file_id": await gateway.upload(client, input_of([{}])),
            "endpoint": "/v1/infer/any",
            "completion_window": "24h",
        }
        answer = await client.post("/v1/batches", json={**good, **changed})
        assert answer.status_code in (400, 404)
        assert answer.json()["error"]["param"] == param


async def test_another_users_batch_is_not_there_and_its_input_is_not_deleted(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with with_batches(tmp_path, clock) as gateway:
        gateway.platform.full = True
        async with gateway.client() as alice:
            batch = await gateway.batch(alice, input_of([{}], "/v1/infer/far"), "/v1/infer/far")
            used = await alice.delete(f"/v1/files/{batch['input_file_id']}")
            listed = (await alice.get("/v1/batches?limit=1")).json()
            jobs = (await alice.get("/v1/jobs")).json()
            assert (used.status_code, used.json()["error"]["code"]) == (409, "file_in_use")
            assert [one["id"] for one in listed["data"]] == [batch["id"]]
            assert jobs["data"] == []
        async with gateway.client(gateway.key(user="bob")) as bob:
            assert (await bob.get(f"/v1/batches/{batch['id']}")).status_code == 404
            assert (await bob.post(f"/v1/batches/{batch['id']}/cancel")).status_code == 404
            assert (await bob.get("/v1/batches")).json()["data"] == []


async def test_a_key_that_is_revoked_begins_no_more_lines(tmp_path: Path, clock: FakeClock) -> None:
    async with with_batches(tmp_path, clock) as gateway:
        key = gateway.key()
        async with gateway.client(key) as client, gateway.client() as other:
            data = input_of([{"x": n} for n in range(90)], "/v1/infer/far")
            gateway.platform.full = True
            batch = await gateway.batch(client, data, "/v1/infer/far")
            await gateway.until_status(client, batch["id"], "in_progress")
            found = gateway.inner.keys.find(key)
            assert found is not None
            gateway.inner.keys.revoke(found.key_id)
            await clock.advance(11)
            gateway.platform.full = False
            ended = await gateway.until_status(other, batch["id"], *ENDED)
            errors = await gateway.lines(other, ended["error_file_id"])
            assert {one["error"]["code"] for one in errors} == {"key_revoked"}
            assert ended["request_counts"]["failed"] == len(errors) > 0
            assert len(gateway.platform.jobs) == 90 - len(errors)


async def test_a_batchs_files_may_lie_in_a_bucket(tmp_path: Path, clock: FakeClock) -> None:
    with bucket_running() as (bucket, _):
        contents = BucketContents(bucket, SystemClock())
        async with (
            with_batches(tmp_path, clock, contents=contents) as gateway,
            gateway.client() as client,
        ):
            batch = await gateway.batch(client, input_of({"x": n} for n in range(60)))
            ended = await gateway.until_status(client, batch["id"], *ENDED)
            lines = await gateway.lines(client, ended["output_file_id"])
            assert [line["custom_id"] for line in lines] == [f"c{n}" for n in range(1, 61)]
