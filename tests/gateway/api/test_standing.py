"""How backends stand, and what a call would be told now: whoever runs the gateway sees why."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import httpx
import pytest

from adapters.errors import BackendError, FailureClass
from gateway.clock import FakeClock, settle
from gateway.types import ApiError
from tests.gateway.assembled import POLICY, AssembledGateway, assembled

F = FailureClass
CHAT = {"model": "chat", "messages": [{"role": "user", "content": "hi"}]}
REQUIRED = POLICY.replace("kind: fake, slots: 2", "kind: fake, slots: 2, required: true")


async def fails(gateway: AssembledGateway, name: str, failure: BackendError, **call: Any) -> None:
    gateway.fake(name).tell(failure)
    with contextlib.suppress(ApiError):
        await gateway.ask(gateway.call_state(**call))


# --- backends ------------------------------------------------------------------------------------


async def standing(gateway: AssembledGateway, name: str) -> dict[str, Any]:
    async with gateway.client(gateway.key("root", admin=True)) as client:
        rows = (await client.get("/admin/backends")).json()["backends"]
    found: dict[str, Any] = next(row for row in rows if row["backend"] == name)
    return found


async def test_the_rest_of_one_caller_is_shown_and_blocks_nobody_else(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock) as gateway:
        for body in (b"1", b"2"):
            await fails(gateway, "home", BackendError(F.FAILED, "it failed"), body=body)
        row = await standing(gateway, "home")
        assert (row["blocked"], row["blocked_until"], row["failures_in_a_row"]) == (None, None, 2)
        [rest] = row["rests"]
        assert (rest["model"], rest["user"], rest["from"]) == ("chat", "alice", "failed")
        assert rest["last_resort"]
        assert rest["until"].endswith("Z")


async def test_a_backend_that_is_blocked_says_from_what_and_until_when(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock) as gateway:
        await fails(gateway, "home", BackendError(F.CREDENTIAL, "401"))
        row = await standing(gateway, "home")
        assert (row["blocked"], row["blocked_from"]) == ("cooling_down", "credential")
        [rest] = row["rests"]
        assert (rest["model"], rest["user"], rest["last_resort"]) == (None, None, False)
        assert row["blocked_until"] == rest["until"]


async def test_a_success_ends_the_failures_in_a_row(tmp_path: Path, clock: FakeClock) -> None:
    """Of another model too, whose calls are still kept away."""
    async with assembled(tmp_path, clock) as gateway:
        await fails(gateway, "home", BackendError(F.LOADING, "it loads"), model="any")
        assert (await standing(gateway, "home"))["failures_in_a_row"] == 1
        await gateway.ask(gateway.call_state())
        row = await standing(gateway, "home")
        assert (row["failures_in_a_row"], [one["model"] for one in row["rests"]]) == (0, ["any"])


# --- readiness -----------------------------------------------------------------------------------


async def ready(gateway: AssembledGateway) -> tuple[int, list[str]]:
    async with gateway.client() as client:
        answer = await client.get("/readyz")
    return answer.status_code, answer.json().get("missing", [])


@pytest.mark.parametrize("failure", [F.CREDENTIAL, F.UNREACHABLE], ids=lambda f: f.slug)
async def test_a_rest_after_failures_leaves_a_gateway_in_its_place_while_another_backend_answers(
    failure: FailureClass, tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, REQUIRED) as gateway:
        for _ in range(3):
            await fails(gateway, "home", BackendError(failure, "no"))
            await clock.advance(3.0)
        assert await ready(gateway) == (200, [])


async def test_it_is_not_ready_while_a_model_of_a_required_backend_is_answered_by_nobody(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, REQUIRED) as gateway:
        await fails(gateway, "home", BackendError(F.CREDENTIAL, "401"))
        gateway.inner.active.backends["burst"].draining = True
        status, [missing] = await ready(gateway)
        assert (status, missing) == (
            503, "home: left alone after failures, and nothing else serves chat, any"
        )  # fmt: skip
        await clock.advance(61.0)
        assert await ready(gateway) == (200, [])


# --- what a call would be told -------------------------------------------------------------------


async def explained(gateway: AssembledGateway, key: str, **body: Any) -> dict[str, Any]:
    async with gateway.client(key) as client:
        answer = await client.post("/v1/route/explain", json=CHAT | body)
    told: dict[str, Any] = answer.json()
    return told


async def test_a_candidate_that_there_is_no_money_for_is_refused_with_what_is_left(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock) as gateway:
        told = await explained(gateway, gateway.key(limits={"spend": "0.01 USD/day"}))
        assert (told["backend"], told["would_be_refused"]) == ("home", [])
        assert [one["backend"] for one in told["candidates"]] == ["home"]
        [refused] = told["refused"]
        assert (refused["backend"], refused["reason"]) == ("burst", "budget_exhausted")
        assert "Your key has 0.01 USD left" in refused["message"]


async def test_of_a_budget_of_others_no_figure_is_told(tmp_path: Path, clock: FakeClock) -> None:
    text = POLICY + "limits: {spend: 0.01 USD/day}\n"
    async with assembled(tmp_path, clock, text) as gateway:
        [refused] = (await explained(gateway, gateway.key()))["refused"]
        assert refused["reason"] == "budget_exhausted"
        assert "0.01" not in refused["message"]


async def test_the_backend_is_the_one_that_the_call_would_get(
    tmp_path: Path, clock: FakeClock
) -> None:
    """And its reason is the one that the call would be told."""
    text = POLICY.replace("slots: 2,", "slots: 1, concurrency: 1,").replace("slo: 2s", "slo: 12s")
    async with assembled(tmp_path, clock, text) as gateway:
        gateway.fake("home").runs_for = 600.0
        busy = [gateway.start()[1] for _ in range(10)]  # as many as still wait at home
        await gateway.until_asked("home")
        await settle()
        key = gateway.key(user="paul", limits={"spend": "0.01 USD/day"})
        rich = await explained(gateway, gateway.key(user="rita"))
        poor = await explained(gateway, key)
        assert (rich["backend"], rich["reason"]) == ("burst", "SPILL_COLD")
        assert (poor["backend"], poor["reason"]) == ("home", "LEAST_DELAY")
        for task in busy:
            task.cancel()


async def test_an_answer_that_is_cut_to_the_budget_is_foreseen(
    tmp_path: Path, clock: FakeClock
) -> None:
    """A call that says no bound is answered as far as the money reaches; one that does is not."""
    price = "{per_million_input: 1, per_million_output: 1, as_of: 2026-11-01, source: test}"
    text = POLICY.replace("price: reserved", "price: tokens").replace(
        "prices:\n", f"prices:\n  tokens: {price}\n"
    )
    async with assembled(tmp_path, clock, text) as gateway:
        key = gateway.key(limits={"spend": "0.0005 USD/day"})
        told = await explained(gateway, key)
        assert told["backend"] == "home"
        assert 0 < told["output_bound"] < 500
        bounded = await explained(gateway, key, max_tokens=1000)
        assert (bounded["backend"], bounded["output_bound"]) == (None, None)
        rich = await explained(gateway, gateway.key("rita"))
        assert (rich["backend"], rich["output_bound"]) == ("home", None)


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        ({"requests": "1/day"}, "rate_limit_exceeded"),
        ({"concurrent": 1}, "concurrency_limit_exceeded"),
        ({"gpu_seconds": "0.1/day"}, "budget_exhausted"),
    ],
    ids=["requests", "concurrent", "gpu_seconds"],
)
async def test_another_limit_without_room_is_a_remark_beside_the_decision(
    limits: dict[str, Any], code: str, tmp_path: Path, clock: FakeClock
) -> None:
    """And takes nothing: what the call itself is told is the same."""
    async with assembled(tmp_path, clock) as gateway:
        key = gateway.key(limits=limits)
        gateway.fake("home").runs_for = 5.0
        async with gateway.client(key) as client:
            for _ in range(2):
                await explained(gateway, key)
            if code != "budget_exhausted":
                first = gateway.start(principal=gateway.inner.keys.find(key))[1]
                await gateway.until_asked("home")
            told = await explained(gateway, key)
            answer: httpx.Response = await client.post("/v1/chat/completions", json=CHAT)
            if code != "budget_exhausted":
                await gateway.until_done([first], step=1.0)
        [remark] = told["would_be_refused"]
        assert (told["backend"], remark["code"]) == ("home", code)
        assert (remark["status"], answer.status_code) == (answer.status_code, remark["status"])
        assert answer.json()["error"]["code"] == code


async def test_a_backend_that_is_asked_last_is_told_once(tmp_path: Path, clock: FakeClock) -> None:
    async with assembled(tmp_path, clock) as gateway:
        home = gateway.inner.active.backends["home"]
        gateway.fake("home").unwell = "it says so"
        home.probed(await home.adapter.probe())
        told = await explained(gateway, gateway.key())
        assert told["refused"] == []
        lasts = [(one["backend"], one["last_resort"]) for one in told["candidates"]]
        assert lasts == [("burst", None), ("home", "not_ready")]


# --- no backend ----------------------------------------------------------------------------------


@pytest.mark.parametrize("cause", ["route", "drained"])
async def test_a_model_without_a_backend_says_why_and_that_a_repetition_does_not_help(
    cause: str, tmp_path: Path, clock: FakeClock
) -> None:
    routes = "routes:\n  - {name: only-far, use: [burst]}\n" if cause == "route" else ""
    text = POLICY.replace("infer, backends: [home, burst]", "infer, backends: [home]")
    async with assembled(tmp_path, clock, text + routes) as gateway, gateway.client() as client:
        gateway.inner.active.backends["home"].draining = cause == "drained"
        answer = await client.post("/v1/infer/any", json={})
        said = {"route": (403, "no_route"), "drained": (503, "no_backend")}
        assert (answer.status_code, answer.json()["error"]["code"]) == said[cause]
        words = {"route": "the route 'only-far', which uses no", "drained": "home: drained"}
        assert words[cause] in answer.json()["error"]["message"]
        assert answer.headers["x-should-retry"] == "false"
        assert "retry-after" not in answer.headers


async def test_a_model_of_which_no_backend_is_ready_is_warned_of(
    tmp_path: Path, clock: FakeClock
) -> None:
    """``required`` may be none: the answer is 200, and not silent."""
    async with assembled(tmp_path, clock) as gateway, gateway.client() as client:
        for name in ("home", "burst"):
            told = (await client.get("/readyz")).json()
            assert "chat" not in str(told.get("warnings")), f"before {name} is drained"
            gateway.inner.active.backend(name).standing.draining = True
        answer = await client.get("/readyz")
        assert answer.status_code == 200
        assert answer.json()["warnings"] == ["no backend is ready for calls of chat, far, any"]
