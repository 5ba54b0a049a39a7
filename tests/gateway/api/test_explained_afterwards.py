"""What can be told of a call, or of a refusal, when it is over."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from adapters.errors import BackendError, FailureClass
from adapters.types import Usage
from gateway.access_log import AccessLog
from gateway.clock import FakeClock
from gateway.log_lines import LineWriter
from gateway.storage.history import MOST_KEPT
from tests.gateway.assembled import POLICY, AssembledGateway, assembled
from tests.gateway.hedging.calls import policy, runs
from tests.gateway.pipes import Pipe
from tests.waiting import until

CHAT = {"model": "chat", "messages": [{"role": "user", "content": "hi"}]}
REFUSED = BackendError(FailureClass.UNREACHABLE, "connection refused")


async def usage_of(client: httpx.AsyncClient, answer: httpx.Response) -> dict[str, Any]:
    told: dict[str, Any] = (await client.get(f"/usage/{answer.headers['x-request-id']}")).json()
    return told


async def test_a_backend_that_failed_for_free_is_told_with_its_class_and_its_words(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock) as gateway, gateway.client() as client:
        gateway.fake("home").tell(REFUSED)
        answer = await client.post("/v1/chat/completions", json=CHAT)
        told = await usage_of(client, answer)
        [attempt] = told["attempts"]
        assert (attempt["backend"], attempt["error"]) == ("home", "unreachable")
        assert (attempt["message"], attempt["cost_nano"]) == ("connection refused", 0)
        assert (attempt["after_seconds"], attempt["seconds"]) == (0.0, 0.0)
        assert (told["backend"], told["reason"]) == ("burst", "FAILOVER")


async def test_an_attempt_that_was_charged_is_told_once_with_what_it_cost(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock) as gateway, gateway.client() as client:
        used = Usage(exec_s=4.0, gpu_s=4.0, reported=True)
        gateway.fake("home").tell(BackendError(FailureClass.WORKER_DIED, "gone", usage=used))
        told = await usage_of(client, await client.post("/v1/chat/completions", json=CHAT))
        [attempt] = told["attempts"]
        assert (attempt["kind"], attempt["message"]) == ("attempt", "gone")
        assert attempt["cost_nano"] == 4_000_000 == told["total_cost_nano"]


async def test_a_call_that_nobody_answered_tells_each_backend_that_failed_it(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock) as gateway, gateway.client() as client:
        for name in ("home", "burst"):
            gateway.fake(name).tell(BackendError(FailureClass.OVERLOADED, f"{name} is full"))
        answer = await client.post("/v1/chat/completions", json=CHAT)
        told = await usage_of(client, answer)
        assert told["outcome"] == "error"
        assert [(each["backend"], each["message"]) for each in told["attempts"]] == [
            ("home", "home is full"),
            ("burst", "burst is full"),
        ]


async def test_the_quotes_of_the_decision_belong_to_the_call(
    tmp_path: Path, clock: FakeClock
) -> None:
    """In the words in which they are explained beforehand."""
    async with assembled(tmp_path, clock) as gateway, gateway.client() as client:
        gateway.inner.active.backends["burst"].draining = True
        explained = (await client.post("/v1/route/explain", json=CHAT)).json()
        told = await usage_of(client, await client.post("/v1/chat/completions", json=CHAT))
        for afterwards, before in zip(
            told["decision"]["candidates"], explained["candidates"], strict=True
        ):
            assert afterwards.items() <= before.items()
        assert told["decision"]["refused"] == [{"backend": "burst", "reason": "drained"}]
        assert told["decision"]["slo_seconds"] == 2.0


async def test_what_is_kept_of_a_call_is_bounded(tmp_path: Path, clock: FakeClock) -> None:
    many = "".join(f"  b{n}: {{kind: fake, price: flex}}\n" for n in range(MOST_KEPT + 4))
    names = ", ".join(f"b{n}" for n in range(MOST_KEPT + 4))
    text = POLICY.replace("models:\n", f"{many}models:\n").replace(
        "chat: {task: chat, backends: [home, burst]", f"chat: {{task: chat, backends: [{names}]"
    )
    async with assembled(tmp_path, clock, text) as gateway, gateway.client() as client:
        for number in range(MOST_KEPT + 3):
            failure = BackendError(FailureClass.UNREACHABLE, "x" * 10_000)
            gateway.fake(f"b{number}").tell(failure)
        told = await usage_of(client, await client.post("/v1/chat/completions", json=CHAT))
        assert len(told["attempts"]) == len(told["decision"]["candidates"]) == MOST_KEPT
        assert {len(each["message"]) for each in told["attempts"]} == {300}


# --- refusals ------------------------------------------------------------------------------------


class LoggedCalls:
    """The gateway's access log, from now on."""

    def __init__(self, gateway: AssembledGateway) -> None:
        self.pipe = Pipe()
        self._gateway = gateway.inner
        self._writer = LineWriter(self.pipe)
        gateway.inner.access_log = AccessLog(self._writer, gateway.clock)

    def lines(self) -> list[dict[str, Any]]:
        """All of them; none follows."""
        self._gateway.access_log.hand_over()
        self._writer.close(20)
        return [json.loads(line) for line in self.pipe.lines]


@pytest.mark.parametrize(
    ("body", "plan", "status", "code"),
    [
        (b"{", None, 400, "invalid_json"),
        (json.dumps(CHAT | {"model": "nobody"}).encode(), None, 404, "model_not_found"),
        (json.dumps(CHAT).encode(), {"requests": "1/day"}, 429, "rate_limit_exceeded"),
        (json.dumps(CHAT).encode(), {"spend": "0.000001 USD/day"}, 402, "budget_exhausted"),
        (b'{"model": "chat", "x": "' + b"a" * 2_000_000 + b'"}', None, 413, "body_too_large"),
    ],
    ids=lambda value: str(value) if isinstance(value, int) else "",
)
async def test_a_refused_call_is_in_the_access_log_with_its_code_and_its_key_id(
    body: bytes,
    plan: dict[str, str] | None,
    status: int,
    code: str,
    tmp_path: Path,
    clock: FakeClock,
) -> None:
    text = POLICY.replace('server: {tls: "off"', 'server: {max_body: 1MiB, tls: "off"')
    async with assembled(tmp_path, clock, text) as gateway:
        log, key = LoggedCalls(gateway), gateway.key(limits=plan or {})
        async with gateway.client(key) as client:
            for _ in range(2):
                answer = await client.post("/v1/chat/completions", content=body)
            assert answer.status_code == status
        line = log.lines()[-1]
        assert (line["outcome"], line["status"], line["error"]) == ("refused", status, code)
        assert line["id"] == answer.headers["x-request-id"]
        assert (line["user"], line["path"]) == ("alice", "/v1/chat/completions")
        assert line["key"].startswith("key_")
        assert key not in log.pipe.getvalue().decode()


async def test_a_key_that_is_not_known_is_in_no_line(tmp_path: Path, clock: FakeClock) -> None:
    """The refusal is."""
    async with assembled(tmp_path, clock) as gateway:
        log = LoggedCalls(gateway)
        async with gateway.client("sg-guessed-0123456789") as client:
            assert (await client.post("/v1/chat/completions", json=CHAT)).status_code == 401
        [line] = log.lines()
        assert (line["error"], line["user"], line["key"]) == ("invalid_api_key", "", "")
        assert b"guessed" not in log.pipe.getvalue()


async def test_a_call_that_no_backend_can_take_is_logged_with_its_model(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock) as gateway:
        log = LoggedCalls(gateway)
        for backend in gateway.inner.active.backends.values():
            backend.draining = True
        async with gateway.client() as client:
            assert (await client.post("/v1/chat/completions", json=CHAT)).status_code == 503
        [line] = log.lines()
        assert (line["error"], line["model"]) == ("no_backend", "chat")


# --- times ---------------------------------------------------------------------------------------


def timing(answer: httpx.Response) -> dict[str, float]:
    entries = (entry.split(";dur=") for entry in answer.headers["server-timing"].split(", "))
    return {name: float(value) for name, value in entries}


async def test_a_wait_in_line_is_no_part_of_what_the_gateway_added(
    tmp_path: Path, clock: FakeClock
) -> None:
    """It has an entry of its own, and the overhead's histogram has none of it."""
    text = POLICY.replace("slots: 2", "slots: 1, concurrency: 1").replace("slo: 2s", "slo: 200s")
    async with assembled(tmp_path, clock, text) as gateway, gateway.client() as client:
        home = gateway.fake("home")
        home.runs_for = 3.0
        tasks = [
            asyncio.ensure_future(client.post("/v1/chat/completions", json=CHAT)) for _ in range(2)
        ]
        await gateway.until_asked("home")
        await clock.advance(3.0)
        await tasks[0]
        await until(lambda: len(home.calls) == 2, "the second call has its turn")
        await clock.advance(3.0)
        second = timing(await tasks[1])
        assert (second["gateway"], second["queue"]) == (0.0, 3000.0)
        samples = {
            sample.name: sample.value
            for metric in gateway.inner.metrics.registry.collect()
            for sample in metric.samples
            if metric.name == "spillgate_overhead_seconds" and not sample.labels
        }
        assert samples["spillgate_overhead_seconds_sum"] == 0.0


async def test_a_backend_that_failed_slowly_is_no_part_of_it_either(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock) as gateway, gateway.client() as client:
        gateway.fake("home").runs_for = 5.0
        gateway.fake("home").tell(REFUSED)
        task = asyncio.ensure_future(client.post("/v1/chat/completions", json=CHAT))
        await gateway.until_asked("home")
        await clock.advance(5.0)
        told = timing(await task)
        assert (told["gateway"], told["earlier"]) == (0.0, 5000.0)


@pytest.mark.parametrize(
    ("first_s", "second_s", "earlier_ms", "exec_ms"),
    [
        pytest.param(60.0, 0.5, 1000.0, 500.0, id="the second answers"),
        pytest.param(2.5, 60.0, 0.0, 2500.0, id="the first answers all the same"),
    ],
)
async def test_where_two_were_asked_the_wait_before_the_second_is_told_too(
    first_s: float,
    second_s: float,
    earlier_ms: float,
    exec_ms: float,
    tmp_path: Path,
    clock: FakeClock,
) -> None:
    async with (
        assembled(tmp_path, clock, policy(route=", repeat: always")) as gateway,
        gateway.client(gateway.key("alice")) as client,
    ):
        runs(gateway, first=first_s, second=second_s)
        task = asyncio.ensure_future(client.post("/v1/chat/completions", json=CHAT))
        await gateway.until_done([task], step=0.25)
        told = timing(await task)
        assert (told.get("earlier", 0.0), told["exec"]) == (earlier_ms, exec_ms)


# --- how it stands -------------------------------------------------------------------------------


async def test_a_drained_backend_that_is_required_is_not_ready(
    tmp_path: Path, clock: FakeClock
) -> None:
    text = POLICY.replace("kind: fake, slots: 2", "kind: fake, slots: 2, required: true")
    async with assembled(tmp_path, clock, text) as gateway, gateway.client() as client:
        assert (await client.get("/readyz")).status_code == 200
        gateway.inner.active.backends["home"].draining = True
        answer = await client.get("/readyz")
        assert (answer.status_code, answer.json()["missing"]) == (503, ["home: drained"])


async def test_no_backend_is_cold_beside_a_worker_that_is_warm(
    tmp_path: Path, clock: FakeClock
) -> None:
    """What was believed of its workers, and what it says of itself, are told as one."""
    async with assembled(tmp_path, clock) as gateway:
        admin = gateway.key("root", admin=True)
        await gateway.ask(gateway.call_state("far"))
        burst = gateway.inner.active.backends["burst"]
        probe = await gateway.fake("burst").probe()
        async with gateway.client(admin) as client:
            for ready in (True, False):
                burst.standing.probed_ready = ready
                rows = (await client.get("/admin/backends")).json()["backends"]
                [row] = [row for row in rows if row["backend"] == "burst"]
                assert (row["warm"], row["warm_idle"]) == (ready, int(ready))
        assert probe.ready
        await gateway.ask(gateway.call_state("far"))
        assert burst.is_warm, "a worker has answered since"


async def test_the_access_log_has_what_all_attempts_cost_and_how_many_failed(
    tmp_path: Path, clock: FakeClock
) -> None:
    """A free one and a charged one, before an answer that costs as well."""
    text = POLICY.replace("chat, backends: [home, burst]", "chat, backends: [home, burst, spare]")
    text = text.replace("models:\n", "  spare: {kind: fake, price: flex}\nmodels:\n")
    async with assembled(tmp_path, clock, text) as gateway:
        log = LoggedCalls(gateway)
        gateway.fake("home").tell(REFUSED)
        for name in ("burst", "spare"):
            gateway.fake(name).runs_for = 2.0
        used = Usage(exec_s=4.0, gpu_s=4.0, reported=True)
        gateway.fake("spare").tell(BackendError(FailureClass.WORKER_DIED, "gone", usage=used))
        async with gateway.client() as client:
            task = asyncio.ensure_future(client.post("/v1/chat/completions", json=CHAT))
            await gateway.until_done([task], step=1.0)
            told = await usage_of(client, task.result())
        [line] = log.lines()
        assert told["cost_nano"] > 0
        assert line["cost_nano"] == told["total_cost_nano"] == told["cost_nano"] + 4_000_000
        assert line["attempts"] == len(told["attempts"]) == 2
        assert line["status"] == told["status"] == 200
