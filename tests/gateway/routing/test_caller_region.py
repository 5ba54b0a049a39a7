"""A request says where its caller is by the header of a trusted proxy."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.clock import FakeClock
from tests.gateway.assembled import POLICY, assembled

CHAT = {"model": "chat", "messages": [{"role": "user", "content": "hi"}]}
HEADER = {"X-Client-Region": "DE"}
PLACED = POLICY.replace("idle_timeout: 60s", "idle_timeout: 60s\n    region: eu\n").replace(
    "slo: 2s", "slo: 20s"
)


@pytest.mark.parametrize(
    ("trusted", "region", "backend"),
    [("127.0.0.0/8", "eu", "burst"), ("10.0.0.0/8", None, "home")],
    ids=["trusted", "a stranger"],
)
async def test_its_word_counts_where_its_address_is_trusted(
    tmp_path: Path, clock: FakeClock, trusted: str, region: str | None, backend: str
) -> None:
    """Explained before, and told afterwards."""
    said = f"regions: {{header: X-Client-Region, trusted: [{trusted}], names: {{DE: eu}}}}\n"
    async with assembled(tmp_path, clock, PLACED + said) as gateway, gateway.client() as client:
        explained = (await client.post("/v1/route/explain", json=CHAT, headers=HEADER)).json()
        assert (explained["caller_region"], explained["backend"]) == (region, backend)
        answer = await client.post("/v1/chat/completions", json=CHAT, headers=HEADER)
        assert answer.headers["x-spillgate-backend"] == backend
        told = (await client.get(f"/usage/{answer.headers['x-request-id']}")).json()
        assert told["decision"]["caller_region"] == region
        assert told["reason"] == ("REGION" if region else "RES_FREE")
