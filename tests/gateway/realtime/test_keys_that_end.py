"""A conversation whose key is good no longer goes on no longer."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import ConnectionClosed

from gateway.clock import FakeClock
from tests.gateway.realtime.conversations import RESPONSE_NANO, Talks, heard, said, talks
from tests.gateway.realtime.test_ends import closed, nothing_is_left

CREATE = {"type": "response.create"}


async def revoked(found: Talks, clock: FakeClock) -> None:
    keys = found.gateway.inner.keys
    for record in keys.list():
        if record.principal.token is None:
            keys.revoke(record.principal.key_id)


async def expired(found: Talks, clock: FakeClock) -> None:
    await clock.advance(61)


async def a_key(found: Talks) -> str:
    return found.gateway.key(plan="default", expires_in="1m")


async def a_token(found: Talks) -> str:
    async with found.gateway.client(found.gateway.key(plan="default")) as client:
        answer: httpx.Response = await client.post(
            "/v1/tokens", json={"spend": "0.5 USD", "expires_in": "1m"}
        )
    token: str = answer.json()["token"]
    return token


@pytest.mark.parametrize(
    ("made", "ends"),
    [
        pytest.param(a_key, revoked, id="a key is revoked"),
        pytest.param(a_key, expired, id="a key expires"),
        pytest.param(a_token, revoked, id="the key of a token is revoked"),
        pytest.param(a_token, expired, id="a token expires"),
    ],
)
@pytest.mark.parametrize("talks_on", [True, False], ids=["who talks on", "who waits"])
async def test_it_ends_with_its_key(
    made: Callable[[Talks], Awaitable[str]],
    ends: Callable[[Talks, FakeClock], Awaitable[None]],
    tmp_path: Path,
    clock: FakeClock,
    *,
    talks_on: bool,
) -> None:
    async with talks(tmp_path, clock) as found:
        async with found.connect(key=await made(found)) as socket:
            await said(socket, CREATE)
            await heard(socket, "response.done")
            await ends(found, clock)
            if talks_on:
                with contextlib.suppress(ConnectionClosed):
                    await said(socket, CREATE)
            else:
                await clock.advance(5)
            code, reason, errors = await closed(socket)
        assert (code, errors) == (4401, ["invalid_api_key"])
        assert reason.startswith("invalid_api_key: ")
        row = await found.row()
        assert (row.outcome, row.status, row.error) == ("error", 401, "invalid_api_key")
        assert row.cost_nano == RESPONSE_NANO
        await nothing_is_left(found)
