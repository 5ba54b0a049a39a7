"""The HTTP surface over the assembled gateway: shapes, rights, one clear error for each fault."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from adapters.errors import BackendError, FailureClass
from adapters.types import Chunk, Reply, Usage
from gateway.clock import FakeClock
from tests.gateway.assembled import POLICY, assembled

CHAT = {"model": "chat", "messages": [{"role": "user", "content": "hi"}]}
DELTA = b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n'
TOKENS = Usage(input_tokens=5, output_tokens=2, exec_s=1.0, reported=True)
USAGE = Chunk(
    b'data: {"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":2}}\n\n', "usage", TOKENS
)
DONE = Chunk(b"data: [DONE]\n\n", "done")


async def test_an_answer_says_who_gave_it_why_and_for_how_much(
    tmp_path: Path, clock: FakeClock
) -> None:
    """The headers, the ledger and /usage/{id} agree."""
    async with assembled(tmp_path, clock) as gateway, gateway.client() as client:
        gateway.fake("home").tell(Reply(body=b'{"ok":1}', usage=TOKENS))
        answer = await client.post("/v1/chat/completions", json=CHAT)
        assert answer.status_code == 200
        assert answer.json() == {"ok": 1}
        head = answer.headers
        assert (head["x-spillgate-backend"], head["x-spillgate-reason"]) == ("home", "RES_FREE")
        assert head["x-spillgate-cost"] == "0.001"
        assert "exec;dur=1000.000" in head["server-timing"]
        assert "ratelimit" in head
        row = (await client.get(f"/usage/{head['x-request-id']}")).json()
        assert row["cost_nano"] == 1_000_000
        assert row["backend"] == "home"


async def test_a_stream_is_passed_on_and_its_cost_stands_in_the_last_usage(
    tmp_path: Path, clock: FakeClock
) -> None:
    """The end marker comes after the settlement."""
    async with assembled(tmp_path, clock) as gateway, gateway.client() as client:
        gateway.fake("home").tell([Chunk(DELTA), Chunk(DELTA), USAGE, DONE])
        body = {**CHAT, "stream": True, "stream_options": {"include_usage": True}}
        answer = await client.post("/v1/chat/completions", json=body)
        events = answer.text.split("\n\n")
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert events[:2] == [DELTA.decode().strip()] * 2
        assert json.loads(events[2][6:])["usage"]["cost"] == 0.001
        assert events[3:] == ["data: [DONE]", ""]


async def test_usage_that_was_not_asked_for_is_hidden_but_charged(
    tmp_path: Path, clock: FakeClock
) -> None:
    """The upstream is always asked; the caller sees what it asked for."""
    async with assembled(tmp_path, clock) as gateway, gateway.client() as client:
        gateway.fake("home").tell([Chunk(DELTA), USAGE, DONE])
        answer = await client.post("/v1/chat/completions", json={**CHAT, "stream": True})
        assert "usage" not in answer.text
        row = (await client.get(f"/usage/{answer.headers['x-request-id']}")).json()
        assert (row["input_tokens"], row["output_tokens"]) == (5, 2)


async def test_a_stream_that_breaks_after_it_began_ends_in_an_error_and_no_end_marker(
    tmp_path: Path, clock: FakeClock
) -> None:
    """A cut answer is never sold as whole, and no other backend is asked."""
    async with assembled(tmp_path, clock) as gateway, gateway.client() as client:
        cut = BackendError(FailureClass.TRUNCATED, "the stream was cut")
        gateway.fake("home").tell([Chunk(DELTA), cut])
        answer = await client.post("/v1/chat/completions", json={**CHAT, "stream": True})
        assert answer.text.startswith(DELTA.decode())
        assert "[DONE]" not in answer.text
        assert json.loads(answer.text.split("\n\n")[1][6:])["error"]["code"] == "backend_truncated"
        assert gateway.fake("burst").calls == []
        row = (await client.get(f"/usage/{answer.headers['x-request-id']}")).json()
        assert row["outcome"] == "error"


async def test_a_stream_that_fails_before_its_first_byte_moves_on(
    tmp_path: Path, clock: FakeClock
) -> None:
    """Nothing was sent, so another backend may answer."""
    async with assembled(tmp_path, clock) as gateway, gateway.client() as client:
        gateway.fake("home").tell([BackendError(FailureClass.OVERLOADED, "full")])
        gateway.fake("burst").tell([Chunk(DELTA), DONE])
        answer = await client.post("/v1/chat/completions", json={**CHAT, "stream": True})
        assert answer.headers["x-spillgate-backend"] == "burst"
        assert answer.text.endswith("[DONE]\n\n")


async def test_a_failure_says_what_it_cost(tmp_path: Path, clock: FakeClock) -> None:
    """A model's code that ran and failed is charged, and the caller is told."""
    async with assembled(tmp_path, clock) as gateway, gateway.client() as client:
        used = Usage(exec_s=2.0, gpu_s=2.0, reported=True)
        gateway.fake("home").tell(BackendError(FailureClass.FAILED, "it failed", usage=used))
        answer = await client.post("/v1/infer/any", json={})
        assert (answer.status_code, answer.headers["x-spillgate-cost"]) == (502, "0.002")
        assert await gateway.spent() == 2_000_000


async def test_a_stream_that_breaks_says_in_its_last_event_what_it_cost(
    tmp_path: Path, clock: FakeClock
) -> None:
    """To whoever asked for the usage."""
    async with assembled(tmp_path, clock) as gateway, gateway.client() as client:
        used = Usage(exec_s=3.0, gpu_s=3.0)
        cut = BackendError(FailureClass.TRUNCATED, "the stream was cut", usage=used)
        gateway.fake("home").tell([Chunk(DELTA), cut])
        body = {**CHAT, "stream": True, "stream_options": {"include_usage": True}}
        answer = await client.post("/v1/chat/completions", json=body)
        last = json.loads(answer.text.split("\n\n")[-2][6:])
        assert last["error"]["code"] == "backend_truncated"
        assert last["usage"] == {"cost": 0.003}
        assert await gateway.spent() == 3_000_000


BAD: list[tuple[str, dict[str, Any], int, str, str | None]] = [
    ("no JSON", {"content": b"{oops"}, 400, "invalid_json", None),
    ("an array", {"content": b"[]"}, 400, "invalid_field", None),
    ("no model", {"json": {"messages": [{}]}}, 400, "missing_field", "model"),
    ("a number for a model", {"json": {**CHAT, "model": 5}}, 400, "invalid_field", "model"),
    ("no messages", {"json": {"model": "chat"}}, 400, "missing_field", "messages"),
    ("messages of text", {"json": {**CHAT, "messages": "hi"}}, 400, "invalid_field", "messages"),
    (
        "a message of text",
        {"json": {**CHAT, "messages": ["hi"]}},
        400,
        "invalid_field",
        "messages[0]",
    ),
    ("stream as text", {"json": {**CHAT, "stream": "yes"}}, 400, "invalid_field", "stream"),
    (
        "max_tokens as text",
        {"json": {**CHAT, "max_tokens": "9"}},
        400,
        "invalid_field",
        "max_tokens",
    ),
    ("an unknown model", {"json": {**CHAT, "model": "gpt"}}, 404, "model_not_found", "model"),
    ("a model of another task", {"json": {**CHAT, "model": "any"}}, 400, "wrong_endpoint", "model"),
    (
        "a priority unheard of",
        {"json": CHAT, "headers": {"X-Spillgate-Priority": "max"}},
        400,
        "invalid_header",
        "X-Spillgate-Priority",
    ),
    (
        "a ceiling in words",
        {"json": CHAT, "headers": {"X-Spillgate-Max-Price": "little"}},
        400,
        "invalid_header",
        "X-Spillgate-Max-Price",
    ),
    ("no key", {"json": CHAT, "headers": {"Authorization": ""}}, 401, "missing_api_key", None),
    (
        "a key unheard of",
        {"json": CHAT, "headers": {"Authorization": "Bearer sg-x"}},
        401,
        "invalid_api_key",
        None,
    ),
    ("too large a body", {"content": b"x" * (2**20 + 1)}, 413, "body_too_large", None),
    (
        "too large headers",
        {"json": CHAT, "headers": {"X-Long": "x" * 70_000}},
        431,
        "headers_too_large",
        None,
    ),
]


@pytest.mark.parametrize(
    ("request_", "status", "code", "param"), [row[1:] for row in BAD], ids=[row[0] for row in BAD]
)
async def test_a_bad_request_gets_one_clear_error_and_costs_nothing(
    request_: dict[str, Any],
    status: int,
    code: str,
    param: str | None,
    tmp_path: Path,
    clock: FakeClock,
) -> None:
    """The same shape for all, and no backend hears of it."""
    text = POLICY.replace('tls: "off",', 'tls: "off", max_body: 1 MiB,')
    async with assembled(tmp_path, clock, text) as gateway, gateway.client() as client:
        answer = await client.post("/v1/chat/completions", **request_)
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (status, code)
        assert error["param"] == param
        assert set(error) == {"message", "type", "code", "param"}
        assert len(error["message"].split()) >= 4
        assert answer.headers["x-request-id"].startswith("req_")
        assert not gateway.fake("home").calls
        assert await gateway.spent() == 0


async def test_a_key_is_refused_from_the_moment_it_is_revoked(
    tmp_path: Path, clock: FakeClock
) -> None:
    """The very next request."""
    async with assembled(tmp_path, clock) as gateway, gateway.client() as client:
        admin = {"Authorization": f"Bearer {gateway.key('root', admin=True)}"}
        made = await client.post("/admin/keys", json={"user": "bob"}, headers=admin)
        bob = {"Authorization": f"Bearer {made.json()['key']}"}
        assert (await client.get("/v1/models", headers=bob)).status_code == 200
        gone = await client.delete(f"/admin/keys/{made.json()['id']}", headers=admin)
        assert gone.json()["revoked"] is True
        assert (await client.get("/v1/models", headers=bob)).status_code == 401


@pytest.mark.parametrize("path", ["/admin/keys", "/admin/backends", "/admin/policy"])
async def test_a_users_key_has_no_right_to_administer(
    path: str, tmp_path: Path, clock: FakeClock
) -> None:
    """403, and how to get the right."""
    async with assembled(tmp_path, clock) as gateway, gateway.client() as client:
        answer = await client.get(path)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "admin_required")


async def test_the_models_of_the_policy_are_listed(tmp_path: Path, clock: FakeClock) -> None:
    """In OpenAI's shape."""
    async with assembled(tmp_path, clock) as gateway, gateway.client() as client:
        listed = (await client.get("/v1/models")).json()
        assert [row["id"] for row in listed["data"]] == ["chat", "far", "any"]
        assert (await client.get("/v1/models/chat")).json()["object"] == "model"
        assert (await client.get("/v1/models/none")).status_code == 404


async def test_the_native_surface_takes_any_json(tmp_path: Path, clock: FakeClock) -> None:
    """And refuses what is none."""
    async with assembled(tmp_path, clock) as gateway, gateway.client() as client:
        for body in (b"5", b'"text"', b"[1, 2]", b'{"a": null}'):
            assert (await client.post("/v1/infer/any", content=body)).status_code == 200
        assert (await client.post("/v1/infer/any", content=b"nope")).status_code == 400
        assert [call.body for call in gateway.fake("home").calls][:1] == [b"5"]


async def test_explain_tells_every_candidates_delay_and_price_without_a_call(
    tmp_path: Path, clock: FakeClock
) -> None:
    """The decision as it would be made at this instant."""
    async with assembled(tmp_path, clock) as gateway, gateway.client() as client:
        told = (await client.post("/v1/route/explain", json=CHAT)).json()
        assert (told["backend"], told["reason"], told["slo_seconds"]) == ("home", "RES_FREE", 2.0)
        home_row, burst_row = told["candidates"]
        assert home_row["predicted_price_usd"] == 0
        assert (
            burst_row.items()
            >= {
                "backend": "burst",
                "last_resort": None,
                "predicted_delay_seconds": 9.0,
                "cold_start": True,
                "predicted_load_seconds": 0,
                "reserved": False,
                "predicted_price_usd": 0.01,
                "predicted_charge_usd": 0.01,
                "hold_usd": 0.012,
                "delay_low_seconds": 5.0,
                "delay_high_seconds": 9.0,
            }.items()
        )
        assert burst_row["price_parts_usd"] == {
            "run": 0.001,
            "start": 0.009,
            "wait_after": 0,
            "rest": 0,
        }
        assert burst_row["saw"] == {
            "calls": 0,
            "slots": 4,
            "warm_idle": 0,
            "starting_for_seconds": None,
            "ready_in_seconds": 0,
            "run_seconds": 1,
            "run_deviation_seconds": 0.5,
            "cold_p50_seconds": 5,
            "cold_p95_seconds": 9,
            "wait_after_seconds": 0,
            "round_trip_seconds": 0,
            "region": None,
        }
        assert not gateway.fake("home").calls


async def test_a_drained_backend_gets_no_more_calls_until_it_is_enabled(
    tmp_path: Path, clock: FakeClock
) -> None:
    """The next in line takes them."""
    async with assembled(tmp_path, clock) as gateway, gateway.client() as client:
        admin = {"Authorization": f"Bearer {gateway.key('root', admin=True)}"}
        await client.post("/admin/backends/home/drain", headers=admin)
        answer = await client.post("/v1/chat/completions", json=CHAT)
        assert answer.headers["x-spillgate-backend"] == "burst"
        await client.post("/admin/backends/home/enable", headers=admin)
        answer = await client.post("/v1/chat/completions", json=CHAT)
        assert answer.headers["x-spillgate-backend"] == "home"


async def test_readiness_waits_for_every_required_backend(tmp_path: Path, clock: FakeClock) -> None:
    """Alive is not ready."""
    text = POLICY.replace("slots: 2,", "slots: 0, required: true,")
    async with assembled(tmp_path, clock, text) as gateway, gateway.client() as client:
        assert (await client.get("/healthz")).status_code == 200
        waiting = await client.get("/readyz")
        assert waiting.status_code == 503
        assert waiting.json()["missing"][0].startswith("home")
        gateway.fake("home").slots = 1
        assert (await client.get("/readyz")).json()["status"] == "ready"


async def test_a_call_waits_for_a_start_that_is_sooner_than_any_other_backend(
    tmp_path: Path, clock: FakeClock
) -> None:
    """And is told how long it was; a start that takes longer is left to others."""
    text = POLICY.replace("slots: 2,", "slots: 0,")
    async with assembled(tmp_path, clock, text) as gateway, gateway.client() as client:
        starting = gateway.fake("home")
        starting.starts_in, starting.start_stages = 1.5, {"init": 1.25}
        starting.tell(Reply(body=b"{}", usage=msgspec.structs.replace(TOKENS, cold_s=1.5)))
        answer = await client.post("/v1/chat/completions", json=CHAT)
        assert answer.headers["x-spillgate-backend"] == "home"
        assert "cold;dur=1500.000" in answer.headers["server-timing"]
        metrics = (await client.get("/metrics")).text
        assert 'spillgate_start_seconds{backend="home",stage="init"} 1.25' in metrics
        starting.starts_in = 60.0
        answer = await client.post("/v1/chat/completions", json=CHAT)
        assert answer.headers["x-spillgate-backend"] == "burst"


async def test_metrics_name_models_and_backends_but_no_user(
    tmp_path: Path, clock: FakeClock
) -> None:
    """In Prometheus' format, for anyone who may reach the port."""
    async with assembled(tmp_path, clock) as gateway, gateway.client() as client:
        await client.post("/v1/chat/completions", json=CHAT)
        text = (await client.get("/metrics")).text
        expected = 'spillgate_calls_total{backend="home",model="chat",outcome="success"} 1.0'
        assert expected in text
        assert "alice" not in text


async def test_a_new_policy_is_taken_whole_or_not_at_all(tmp_path: Path, clock: FakeClock) -> None:
    """An invalid one changes nothing; a valid one is in force for the next call."""
    async with assembled(tmp_path, clock) as gateway, gateway.client() as client:
        before = gateway.inner.active
        broken = msgspec.structs.replace(
            before.policy, server=msgspec.structs.replace(before.policy.server, drain=1.0)
        )
        with pytest.raises(Exception, match="restart"):
            await gateway.inner.apply(broken)
        assert gateway.inner.active is before
        from tests.gateway.assembled import read

        after = read(POLICY.replace("[home, burst], slo: 2s}\n  far", "[burst], slo: 2s}\n  far"))
        await gateway.inner.apply(after)
        answer = await client.post("/v1/chat/completions", json=CHAT)
        assert answer.headers["x-spillgate-backend"] == "burst"
        assert gateway.inner.active.backends["home"] is before.backends["home"]
        await gateway.inner.apply(before.policy)
        answer = await client.post("/v1/chat/completions", json=CHAT)
        assert answer.headers["x-spillgate-backend"] == "home"


async def test_no_backend_at_all_is_an_error_that_says_why(
    tmp_path: Path, clock: FakeClock
) -> None:
    """Drained and asleep are different things."""
    text = POLICY.replace("slots: 2,", "slots: 0,")
    async with assembled(tmp_path, clock, text) as gateway, gateway.client() as client:
        gateway.inner.active.backends["burst"].draining = True
        answer: httpx.Response = await client.post("/v1/chat/completions", json=CHAT)
        assert answer.status_code == 503
        assert "home: not_ready, burst: drained" in answer.json()["error"]["message"]
        assert answer.headers["retry-after"] == "2"
