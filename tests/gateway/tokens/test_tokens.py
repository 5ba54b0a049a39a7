"""Client tokens: what a key lends to a browser, with a cap, for some minutes, and no longer."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.clock import FakeClock
from gateway.restore import fill
from gateway.storage.audit import AuditQuery
from gateway.tokens.rate import A_MINUTE, count
from gateway.types import NANO
from tests.gateway.assembled import POLICY, AssembledGateway, assembled

FAR = {"model": "far", "messages": [{"role": "user", "content": "hi"}]}
PAGE = "https://app.example.com"
TEXT = POLICY.replace("access_log: false", f"access_log: false, cors: {{origins: [{PAGE}]}}")


async def made(client: httpx.AsyncClient, **asked: Any) -> dict[str, Any]:
    answer = await client.post("/v1/tokens", json={"spend": "1 USD", **asked})
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


@contextlib.asynccontextmanager
async def shop(
    tmp_path: Path, clock: FakeClock, key: str = "", text: str = TEXT
) -> AsyncIterator[tuple[AssembledGateway, httpx.AsyncClient]]:
    async with assembled(tmp_path, clock, text) as gateway:
        gateway.fake("home").runs_for = gateway.fake("burst").runs_for = 0.0
        async with gateway.client(key or gateway.key("shop")) as client:
            yield gateway, client


async def test_a_page_calls_with_a_token_and_its_key_is_charged(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with shop(tmp_path, clock) as (gateway, client):
        token = await made(client, models=["any"], origins=[PAGE])
        assert token["expires_at"] == "2026-01-01T00:10:00Z"
        assert token["token"].startswith("sgt-")
        async with gateway.client(token["token"]) as page:
            answer = await page.post("/v1/infer/any", json={}, headers={"origin": PAGE})
            assert answer.status_code == 200
            assert answer.headers["access-control-allow-origin"] == PAGE
            row = await gateway.row(answer.headers["x-request-id"])
        assert (row.key_id, row.user, row.tags["client_token"]) == (
            token["key"],
            "shop",
            token["id"],
        )
        [told] = (await client.get("/v1/tokens")).json()["data"]
        assert (told["id"], told["state"], told["spend_usd"]) == (token["id"], "active", "1")
        assert token["token"] not in str(told)


ELSEWHERE = (
    *(("POST", path) for path in ("/v1/tokens", "/v1/jobs", "/admin/keys", "/v1/route/explain")),
    *(("GET", path) for path in ("/v1/tokens", "/v1/jobs", "/v1/files", "/v1/batches", "/usage")),
    *(("GET", "/dashboard"), ("GET", "/admin/keys"), ("POST", "/runpod/v2/any/runsync")),
)


async def test_a_token_may_make_calls_alone(tmp_path: Path, clock: FakeClock) -> None:
    """Whoever's key it is of."""
    async with assembled(tmp_path, clock, TEXT) as gateway:
        async with gateway.client(gateway.key("root", admin=True)) as client:
            token = await made(client)
        async with gateway.client(token["token"]) as page:
            for method, path in ELSEWHERE:
                answer = await page.request(method, path, json={})
                assert answer.status_code == 403, (method, path)


@pytest.mark.parametrize("header", ["Idempotency-Key", "Prefer"])
async def test_a_token_makes_no_jobs(header: str, tmp_path: Path, clock: FakeClock) -> None:
    async with shop(tmp_path, clock) as (gateway, client):
        token = await made(client)
        async with gateway.client(token["token"]) as page:
            said = {header: "respond-async"}
            answer = await page.post("/v1/infer/any", json={}, headers=said)
            assert (answer.status_code, answer.json()["error"]["param"]) == (403, header)


async def test_a_token_is_for_its_models_and_its_pages(tmp_path: Path, clock: FakeClock) -> None:
    async with shop(tmp_path, clock) as (gateway, client):
        token = await made(client, models=["any"], origins=[PAGE], paths=["/v1/infer/*"])
        async with gateway.client(token["token"]) as page:
            for origin in ({}, {"origin": "https://other.example"}):
                answer = await page.post("/v1/infer/any", json={}, headers=origin)
                assert (answer.status_code, answer.json()["error"]["param"]) == (403, "Origin")
            page.headers["origin"] = PAGE
            assert (await page.post("/v1/infer/any", json={})).status_code == 200
            body = {"model": "chat", "messages": [{"role": "user", "content": "hi"}]}
            assert (await page.post("/v1/chat/completions", json=body)).status_code == 403
            assert [one["id"] for one in (await page.get("/v1/models")).json()["data"]] == ["any"]


@pytest.mark.parametrize("how", ["revoked token", "revoked key", "rotated key", "expired"])
async def test_a_token_ends_at_once(how: str, tmp_path: Path, clock: FakeClock) -> None:
    async with shop(tmp_path, clock) as (gateway, client):
        token = await made(client)
        keys = gateway.inner.keys
        async with gateway.client(token["token"]) as page:
            assert (await page.post("/v1/infer/any", json={})).status_code == 200
            match how:
                case "revoked token":
                    gone = await client.delete(f"/v1/tokens/{token['id']}")
                    assert gone.json() == {"id": token["id"], "revoked": True}
                    again = await client.delete(f"/v1/tokens/{token['id']}")
                    assert again.json()["error"]["code"] == "token_not_found"
                case "revoked key":
                    keys.revoke(token["key"])
                case "rotated key":
                    keys.rotate(token["key"], "sg-" + "n" * 40)
                case _:
                    clock.move(600.0)
            answer = await page.post("/v1/infer/any", json={})
            assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")


async def test_a_token_outlives_neither_its_key_nor_the_grace_of_a_rotation(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, TEXT) as gateway:
        async with gateway.client(gateway.key("shop", expires_in="5m")) as client:
            token = await made(client, expires_in="1h")
            assert token["expires_at"] == "2026-01-01T00:05:00Z"
        gateway.inner.keys.rotate(token["key"], "sg-" + "n" * 40, grace_s=60.0)
        async with gateway.client(token["token"]) as page:
            clock.move(59.0)
            assert (await page.get("/v1/models")).status_code == 200
            clock.move(2.0)
            assert (await page.get("/v1/models")).status_code == 401


async def test_a_cap_is_a_cap_also_after_the_counters_were_lost(
    tmp_path: Path, clock: FakeClock
) -> None:
    """The hold of a call is what a run of the dearest may cost: 0.105 USD."""
    async with shop(tmp_path, clock) as (gateway, client):
        token = await made(client, spend="0.12 USD", models=["far"])
        whose = gateway.inner.keys.find(token["token"])
        assert whose is not None
        gateway.fake("burst").runs_for = 60.0
        state = gateway.call_state("far", principal=whose)
        await gateway.ask_after(state, 60.0)
        assert state.cost_nano >= 0.06 * NANO
        async with gateway.client(token["token"]) as page:
            body = FAR
            for _ in range(2):
                answer = await page.post("/v1/chat/completions", json=body)
                error = answer.json()["error"]
                assert (answer.status_code, error["code"]) == (402, "budget_exhausted")
                assert error["message"].startswith("This token ")
                await fill(gateway.inner, gateway.inner.active.policy)
        [told] = (await client.get("/v1/tokens")).json()["data"]
        assert told["left_usd"] == pytest.approx(0.12 - state.cost_nano / NANO)


async def test_whoever_has_a_token_learns_nothing_of_the_budgets_of_its_key(
    tmp_path: Path, clock: FakeClock
) -> None:
    text = TEXT.replace("spend: 5 USD/month", "spend: 0.01 USD/month")
    async with shop(tmp_path, clock, text=text) as (gateway, client):
        token = await made(client, requests="60/minute")
        async with gateway.client(token["token"]) as page:
            body = FAR
            refused = await page.post("/v1/chat/completions", json=body)
            assert refused.status_code == 402
            assert "0.01" not in refused.text
            assert "x-spillgate-left" not in refused.headers
            taken = await page.post("/v1/infer/any", json={})
            assert "1000" not in taken.headers["ratelimit-policy"]
            told = (await page.get("/v1/me")).json()["limits"]
        assert {one["name"] for one in told} == {f"client_token={token['id']}"}


BOUND = {"models": ["any"], "paths": ["/v1/infer/*", "/v1/tokens"], "addresses": ["127.0.0.0/8"]}


async def test_a_token_is_within_its_key(tmp_path: Path, clock: FakeClock) -> None:
    async with (
        assembled(tmp_path, clock, TEXT) as gateway,
        gateway.client(gateway.key("shop", **BOUND)) as client,
    ):
        token = await made(client)
        assert (token["models"], token["paths"]) == (["any"], ["/v1/infer/*"])
        for wrong in ({"models": ["chat"]}, {"paths": ["/v1/responses"]}):
            answer = await client.post("/v1/tokens", json={"spend": "1 USD", **wrong})
            assert (answer.status_code, answer.json()["error"]["code"]) == (403, "beyond_key")


WRONG: tuple[tuple[str | None, dict[str, Any]], ...] = (
    *(("spend", {"spend": text}) for text in ("1", "0 USD", "1 EUR", "1 USD/day", "")),
    *(("expires_in", {"expires_in": text}) for text in ("25h", "59s", "soon")),
    *(("concurrent", {"concurrent": 0}), ("requests", {"requests": "many"})),
    *(("models", {"models": ["none"]}), ("models", {"models": []})),
    *(("paths", {"paths": [path]}) for path in ("/admin/*", "/v1/files", "/v1/tokens", "/v1/*")),
    *(("origins", {"origins": ["https://elsewhere.example"]}), ("origins", {"origins": []})),
    *((None, {"spent": "1 USD"}), (None, {"spend": 1})),
)


async def test_a_wrong_request_is_told_the_field(tmp_path: Path, clock: FakeClock) -> None:
    async with shop(tmp_path, clock) as (gateway, client):
        for param, wrong in WRONG:
            answer = await client.post("/v1/tokens", json={"spend": "1 USD", **wrong})
            assert (answer.status_code, answer.json()["error"]["param"]) == (400, param), wrong
        assert not gateway.inner.keys.tokens()


async def test_what_is_done_with_tokens_is_in_the_audit_log(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with shop(tmp_path, clock) as (gateway, client):
        token = await made(client)
        await client.delete(f"/v1/tokens/{token['id']}")
        await client.post("/v1/tokens", json={})
        async with gateway.client(gateway.key("root", admin=True)) as root:
            told = (await root.get("/admin/audit")).json()["data"]
    assert [(one["act"], one["target"], one["outcome"]) for one in told] == [
        ("token.revoke", token["id"], "done"),
        ("token.create", token["id"], "done"),
    ]
    assert {one["actor"] for one in told} == {f"key:{token['key']}"}


@pytest.mark.parametrize("id", ["none", "tok_%00", "tok_%ff", "tok_" + "0" * 16, "tok_" + "a" * 99])
async def test_a_token_that_is_none_is_not_found(id: str, tmp_path: Path, clock: FakeClock) -> None:
    async with shop(tmp_path, clock) as (_, client):
        answer = await client.delete(f"/v1/tokens/{id}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "token_not_found")


async def test_a_key_makes_and_revokes_so_many_a_minute(tmp_path: Path, clock: FakeClock) -> None:
    """What is refused leaves nothing, and another key has its own."""
    async with shop(tmp_path, clock) as (gateway, client):
        first, second = await made(client), await made(client)
        for number in range(A_MINUTE - 2):
            await count(gateway.inner.shared, "made", first["key"], f"req_{number}")
        for number in range(A_MINUTE - 1):
            await count(gateway.inner.shared, "revoked", first["key"], f"req_{number}")
        refused = await client.post("/v1/tokens", json={"spend": "1 USD"})
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
        async with gateway.client(gateway.key("eve")) as eve:
            await made(eve)
        ends = f"/v1/tokens/{first['id']}", f"/v1/tokens/{second['id']}"
        assert (await client.delete(ends[0])).status_code == 200
        refused = await client.delete(ends[1])
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
        assert gateway.inner.keys.find(second["token"]) is not None
        assert [one.act.act for one in gateway.inner.keys.audit(AuditQuery())] == [
            "token.revoke",
            *["token.create"] * 3,
        ]
        assert (await client.delete(ends[0])).status_code == 404  # takes nothing
        clock.move(1.0)
        assert (await client.delete(ends[1])).status_code == 200
        await made(client)


async def test_nobody_lists_or_ends_the_tokens_of_another_key(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with shop(tmp_path, clock) as (gateway, client):
        token = await made(client)
        async with gateway.client(gateway.key("eve")) as eve:
            assert (await eve.get("/v1/tokens")).json() == {"data": []}
            assert (await eve.delete(f"/v1/tokens/{token['id']}")).status_code == 404
        assert gateway.inner.keys.find(token["token"]) is not None
