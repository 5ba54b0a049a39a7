"""Pages of other origins may call where the policy says so, and read what they are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.clock import FakeClock
from gateway.policy.reader import PolicyError, read_policy_text
from tests.gateway.assembled import FAKES, POLICY, assembled

PAGE = "https://app.example.com"
ALLOWED = POLICY.replace("access_log: false", f"access_log: false, cors: {{origins: [{PAGE}]}}")
ANY = POLICY.replace("access_log: false", 'access_log: false, cors: {origins: ["*"]}')
CHAT = {"model": "chat", "messages": [{"role": "user", "content": "hi"}]}
ASKS = {
    "access-control-request-method": "POST",
    "access-control-request-headers": "authorization, content-type",
}


async def test_a_browser_that_asks_first_is_told_without_a_key(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, ALLOWED) as gateway, gateway.client() as client:
        del client.headers["authorization"]
        head = {"origin": PAGE, **ASKS}
        answer = await client.options("/v1/chat/completions", headers=head)
        assert (answer.status_code, answer.content) == (204, b"")
        told = answer.headers
        assert told["access-control-allow-origin"] == PAGE
        assert told["access-control-allow-headers"] == ASKS["access-control-request-headers"]
        assert "POST" in told["access-control-allow-methods"]
        assert told["access-control-max-age"] == "600"


async def test_answers_and_errors_may_be_read(tmp_path: Path, clock: FakeClock) -> None:
    async with assembled(tmp_path, clock, ALLOWED) as gateway, gateway.client() as client:
        for body, status in ((CHAT, 200), ({}, 400)):
            answer = await client.post("/v1/chat/completions", json=body, headers={"origin": PAGE})
            assert answer.status_code == status
            assert answer.headers["access-control-allow-origin"] == PAGE
            assert answer.headers["vary"] == "origin"


@pytest.mark.parametrize("text", [POLICY, ALLOWED], ids=["nobody", "another page"])
async def test_other_pages_are_told_nothing(text: str, tmp_path: Path, clock: FakeClock) -> None:
    async with assembled(tmp_path, clock, text) as gateway, gateway.client() as client:
        head = {"origin": "https://elsewhere.example.com", **ASKS}
        answer = await client.options("/v1/chat/completions", headers=head)
        assert answer.status_code == 405
        assert not [name for name in answer.headers if name.startswith("access-control")]


async def test_a_star_is_every_page(tmp_path: Path, clock: FakeClock) -> None:
    async with assembled(tmp_path, clock, ANY) as gateway, gateway.client() as client:
        answer = await client.get("/v1/models", headers={"origin": "http://localhost:3000"})
        assert answer.headers["access-control-allow-origin"] == "http://localhost:3000"


@pytest.mark.parametrize("origin", ["app.example.com", "https://app.example.com/", "https://*.x"])
def test_what_is_no_origin_is_an_error_with_its_place(origin: str) -> None:
    text = ALLOWED.replace(PAGE, f'"{origin}"')
    with pytest.raises(PolicyError, match=r"server\.cors\.origins\[0\]"):
        read_policy_text(text, {}, kinds=FAKES)
